import { Button, Center, Loader } from "@mantine/core";
import { IconHistory } from "@tabler/icons-react";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useMemo } from "react";
import type { PolicyVersion } from "../../api/types";
import { useNow } from "../../components/useNow";
import { formatAgo, formatNumber, formatTime } from "../../radar/format";
import { EnforcedBy } from "./EnforcedBy";
import classes from "./HistoryTab.module.css";
import { Nothing } from "./Nothing";
import policyClasses from "./Policy.module.css";
import { versionsQuery } from "./query";
import { usePolicy } from "./usePolicy";
import { VersionPanel } from "./VersionPanel";
import { madeBy, sizeText } from "./words";

const HOME = "/defend/firewalls/cnnf";

/** Every version there was: who made it, why, what it changed, who enforces it. */
export function HistoryTab() {
  const { policy, mayChange } = usePolicy();
  const search = useSearch({ from: `/inside${HOME}/history` });
  const navigate = useNavigate({ from: `${HOME}/history` });
  const { data, error, hasNextPage, fetchNextPage, isFetchingNextPage } =
    useInfiniteQuery(versionsQuery);
  const versions = useMemo(() => data?.pages.flat() ?? [], [data]);
  const inForce = policy?.version ?? versions[0]?.version ?? 1;
  const choose = (version: number | undefined) =>
    void navigate({ search: version === undefined ? {} : { version }, replace: true });
  if (data === undefined) {
    return (
      <section className={policyClasses.body} aria-label="History">
        {error === null ? (
          <Center h="100%">
            <Loader aria-label="Loading" />
          </Center>
        ) : (
          <Nothing
            icon={<IconHistory size={48} stroke={1.2} aria-hidden />}
            title="The history cannot be loaded"
            text={error.message}
          />
        )}
      </section>
    );
  }
  return (
    <div className={classes.split}>
      <section className={classes.list} aria-label="Versions">
        <EnforcedBy inForce={inForce} />
        <ol className={classes.versions} data-testid="versions">
          {versions.map((one) => (
            <VersionEntry
              key={one.version}
              one={one}
              inForce={one.version === inForce}
              chosen={one.version === search.version}
              onChoose={() => choose(one.version)}
            />
          ))}
        </ol>
        {hasNextPage && (
          <Center p="md">
            <Button
              variant="default"
              loading={isFetchingNextPage}
              onClick={() => void fetchNextPage()}
            >
              Show older versions
            </Button>
          </Center>
        )}
      </section>
      {search.version === undefined ? (
        <section className={classes.side} aria-label="Version">
          <Nothing
            icon={<IconHistory size={48} stroke={1.2} aria-hidden />}
            title="Every version is kept"
            text="Choose one to see what it changed, compare it with another, or go back to it."
          />
        </section>
      ) : (
        <VersionPanel
          key={search.version}
          version={search.version}
          inForce={inForce}
          mayChange={mayChange}
          onDone={() => choose(undefined)}
        />
      )}
    </div>
  );
}

interface EntryProps {
  one: PolicyVersion;
  inForce: boolean;
  chosen: boolean;
  onChoose: () => void;
}

function VersionEntry({ one, inForce, chosen, onChoose }: EntryProps) {
  const now = useNow(10_000);
  return (
    <li>
      <button
        type="button"
        className={classes.version}
        aria-pressed={chosen}
        data-version={one.version}
        onClick={onChoose}
      >
        <span className={classes.top}>
          <strong>Version {formatNumber(one.version)}</strong>
          {inForce && <span className={classes.force}>in force</span>}
          <span className={classes.time} title={formatTime(one.at, now)}>
            {formatAgo(one.at, now)}
          </span>
        </span>
        <span className={classes.made}>{madeBy(one)}</span>
        {one.reason !== "" && <span className={classes.reason}>{one.reason}</span>}
        <span className={policyClasses.dim}>
          {one.author} · {sizeText(one)}
        </span>
      </button>
    </li>
  );
}
