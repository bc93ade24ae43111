/** The events that a filter asks for, kept up to date by the Console's stream; older by page. */
import { useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { get, streamUrl } from "../../api/client";
import { follow, type LiveState } from "../../api/stream";
import type { EventForm } from "../../api/types";
import { useSessionCheck } from "../session/useSessionCheck";
import { mergeEvents } from "./merge";
import { type EventsSearch, eventsQuery } from "./search";

const PAGE = 100;

export interface EventsState {
  /** Undefined until the first answer. */
  events: EventForm[] | undefined;
  error: Error | null;
  live: LiveState;
  /** Asks for older ones; undefined when there are none. */
  more: (() => void) | undefined;
  asking: boolean;
}

export function useEvents(search: EventsSearch): EventsState {
  const { effect, q } = search;
  const queries = useQueryClient();
  const checkSession = useSessionCheck();
  const [live, setLive] = useState<LiveState>("connecting");
  const key = useMemo(() => ["events", effect, q ?? ""] as const, [effect, q]);
  const query = useMemo(() => eventsQuery({ effect, q }), [effect, q]);
  // What the stream has brought for this filter; the pages are what was there when it was asked.
  const [news, setNews] = useState<{ key: unknown; events: EventForm[] }>({ key, events: [] });
  const { data, error, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery({
    queryKey: key,
    queryFn: ({ pageParam }) =>
      get<EventForm[]>(
        `/events?${new URLSearchParams({
          ...query,
          limit: String(PAGE),
          ...(pageParam === "" ? {} : { cursor: pageParam }),
        })}`,
      ),
    initialPageParam: "",
    getNextPageParam: (page) => (page.length < PAGE ? undefined : page.at(-1)?.cursor),
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 60_000,
  });

  useEffect(() => {
    const take = (brought: EventForm[]) =>
      setNews((held) => ({
        key,
        events: mergeEvents(held.key === key ? held.events : [], brought),
      }));
    return follow<EventForm[], EventForm[]>(streamUrl("/events/stream", query), "events", {
      onWhole: (page) => {
        take(page);
        // Between the pages that are held and this one others may lie.
        void queries.invalidateQueries({ queryKey: key });
      },
      onChange: take,
      onState: setLive,
      onBroken: checkSession,
    });
  }, [key, query, queries, checkSession]);

  const events = useMemo(() => {
    const brought = news.key === key ? news.events : [];
    return data === undefined ? undefined : mergeEvents(data.pages.flat(), brought);
  }, [data, news, key]);

  return {
    events,
    error,
    live,
    more: hasNextPage ? () => void fetchNextPage() : undefined,
    asking: isFetchingNextPage,
  };
}
