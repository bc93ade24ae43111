/** The pages' addresses. What is shown stands in the address, so that it can be sent to somebody. */

import type { QueryClient } from "@tanstack/react-query";
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Outlet,
  redirect,
} from "@tanstack/react-router";
import { ApiError } from "../api/client";
import { parseEventsSearch } from "../features/events/search";
import {
  parseHistorySearch,
  parseObjectsSearch,
  parseRulesSearch,
} from "../features/policy/search";
import { parseRadarSearch } from "../features/radar/search";
import { sessionQuery } from "../features/session/session";
import { Failure } from "./Failure";
import { queryClient } from "./query";
import { Shell } from "./Shell";

const root = createRootRouteWithContext<{ queryClient: QueryClient }>()({
  component: Outlet,
  errorComponent: Failure,
});

const login = createRoute({
  getParentRoute: () => root,
  path: "/login",
  validateSearch: (search: Record<string, unknown>): { to?: string } => ({
    to: typeof search.to === "string" && /^\/(?!\/)/.test(search.to) ? search.to : undefined,
  }),
  component: lazyRouteComponent(() => import("../features/session/LoginPage"), "LoginPage"),
});

const inside = createRoute({
  getParentRoute: () => root,
  id: "inside",
  beforeLoad: async ({ context, location }) => {
    try {
      await context.queryClient.ensureQueryData(sessionQuery);
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) {
        const to = location.href === "/" ? undefined : location.href;
        throw redirect({ to: "/login", search: { to } });
      }
      throw error;
    }
  },
  component: Shell,
  errorComponent: Failure,
});

const home = createRoute({
  getParentRoute: () => inside,
  path: "/",
  beforeLoad: () => {
    throw redirect({ to: "/radar", search: parseRadarSearch({}) });
  },
});

const radar = createRoute({
  getParentRoute: () => inside,
  path: "/radar",
  validateSearch: parseRadarSearch,
  component: lazyRouteComponent(() => import("../features/radar/RadarPage"), "RadarPage"),
});

const events = createRoute({
  getParentRoute: () => inside,
  path: "/monitor/events/cnnf",
  validateSearch: parseEventsSearch,
  component: lazyRouteComponent(() => import("../features/events/EventsPage"), "EventsPage"),
});

const defenders = createRoute({
  getParentRoute: () => inside,
  path: "/manage/defenders",
  component: lazyRouteComponent(
    () => import("../features/defenders/DefendersPage"),
    "DefendersPage",
  ),
});

const firewalls = createRoute({
  getParentRoute: () => inside,
  path: "/defend/firewalls/cnnf",
  component: lazyRouteComponent(() => import("../features/policy/PolicyPage"), "PolicyPage"),
});

const containerRules = createRoute({
  getParentRoute: () => firewalls,
  path: "/containers",
  validateSearch: parseRulesSearch,
  component: lazyRouteComponent(() => import("../features/policy/RulesTab"), "ContainerRules"),
});

const hostRules = createRoute({
  getParentRoute: () => firewalls,
  path: "/hosts",
  validateSearch: parseRulesSearch,
  component: lazyRouteComponent(() => import("../features/policy/RulesTab"), "HostRules"),
});

const objects = createRoute({
  getParentRoute: () => firewalls,
  path: "/objects",
  validateSearch: parseObjectsSearch,
  component: lazyRouteComponent(() => import("../features/policy/ObjectsTab"), "ObjectsTab"),
});

const history = createRoute({
  getParentRoute: () => firewalls,
  path: "/history",
  validateSearch: parseHistorySearch,
  component: lazyRouteComponent(() => import("../features/policy/HistoryTab"), "HistoryTab"),
});

const transfer = createRoute({
  getParentRoute: () => firewalls,
  path: "/transfer",
  component: lazyRouteComponent(() => import("../features/policy/TransferTab"), "TransferTab"),
});

const firstTab = createRoute({
  getParentRoute: () => firewalls,
  path: "/",
  beforeLoad: () => {
    throw redirect({ to: "/defend/firewalls/cnnf/containers" });
  },
});

/** The way to a page, as far as somebody typed it. */
const shortened = (["/monitor", "/monitor/events", "/events"] as const).map((path) =>
  createRoute({
    getParentRoute: () => inside,
    path,
    beforeLoad: () => {
      throw redirect({ to: "/monitor/events/cnnf", search: parseEventsSearch({}) });
    },
  }),
);

const managed = (["/manage", "/defenders"] as const).map((path) =>
  createRoute({
    getParentRoute: () => inside,
    path,
    beforeLoad: () => {
      throw redirect({ to: "/manage/defenders" });
    },
  }),
);

const defended = (["/defend", "/defend/firewalls", "/policy", "/rules"] as const).map((path) =>
  createRoute({
    getParentRoute: () => inside,
    path,
    beforeLoad: () => {
      throw redirect({ to: "/defend/firewalls/cnnf/containers" });
    },
  }),
);

export const router = createRouter({
  routeTree: root.addChildren([
    login,
    inside.addChildren([
      home,
      radar,
      firewalls.addChildren([firstTab, containerRules, hostRules, objects, history, transfer]),
      events,
      defenders,
      ...shortened,
      ...managed,
      ...defended,
    ]),
  ]),
  context: { queryClient },
  defaultNotFoundComponent: () => <Failure error={new Error("There is no such page.")} />,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
