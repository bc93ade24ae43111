import {
  ActionIcon,
  Menu,
  Text,
  Tooltip,
  UnstyledButton,
  useComputedColorScheme,
  useMantineColorScheme,
} from "@mantine/core";
import {
  IconBellRinging,
  IconLogout,
  IconMoon,
  IconRadar2,
  IconServer2,
  IconSun,
  IconUserCircle,
  IconWall,
} from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, Outlet, useNavigate } from "@tanstack/react-router";
import { Logo } from "../components/Logo";
import { Health } from "../features/defenders/Health";
import { parseEventsSearch } from "../features/events/search";
import { parseRadarSearch } from "../features/radar/search";
import { endSession, sessionQuery } from "../features/session/session";
import classes from "./Shell.module.css";

/** What stands around every page: where one can go, how the Defenders are, who is logged in. */
export function Shell() {
  return (
    <div className={classes.shell}>
      <a className="skip" href="#page">
        Skip to the page
      </a>
      <nav className={classes.rail} aria-label="Product">
        <div className={classes.logo}>
          <Logo />
          <span className="visually-hidden">cnnf</span>
        </div>
        <Link
          to="/radar"
          search={(before) => parseRadarSearch("view" in before ? before : {})}
          className={classes.item}
          activeProps={{ className: `${classes.item} ${classes.active}`, "aria-current": "page" }}
        >
          <IconRadar2 size={22} stroke={1.6} aria-hidden />
          Radar
        </Link>
        <Link
          to="/defend/firewalls/cnnf"
          className={classes.item}
          activeProps={{ className: `${classes.item} ${classes.active}`, "aria-current": "page" }}
        >
          <IconWall size={22} stroke={1.6} aria-hidden />
          <span className="visually-hidden">Defend: </span>
          Firewalls
        </Link>
        <Link
          to="/monitor/events/cnnf"
          search={(before) => parseEventsSearch("effect" in before ? before : {})}
          className={classes.item}
          activeProps={{ className: `${classes.item} ${classes.active}`, "aria-current": "page" }}
        >
          <IconBellRinging size={22} stroke={1.6} aria-hidden />
          <span className="visually-hidden">Monitor: </span>
          Events
        </Link>
        <Link
          to="/manage/defenders"
          className={classes.item}
          activeProps={{ className: `${classes.item} ${classes.active}`, "aria-current": "page" }}
        >
          <IconServer2 size={22} stroke={1.6} aria-hidden />
          <span className="visually-hidden">Manage: </span>
          Defenders
        </Link>
        <div className={classes.foot}>
          <Health />
          <SchemeToggle />
          <Account />
        </div>
      </nav>
      <main id="page" className={classes.page} tabIndex={-1}>
        <Outlet />
      </main>
    </div>
  );
}

function SchemeToggle() {
  const { setColorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme("light");
  const next = scheme === "dark" ? "light" : "dark";
  return (
    <Tooltip label={`Switch to ${next}`} position="right">
      <ActionIcon
        variant="subtle"
        color="gray"
        size="lg"
        aria-label={`Switch to ${next} theme`}
        onClick={() => setColorScheme(next)}
      >
        {scheme === "dark" ? (
          <IconSun size={20} stroke={1.6} />
        ) : (
          <IconMoon size={20} stroke={1.6} />
        )}
      </ActionIcon>
    </Tooltip>
  );
}

function Account() {
  const { data } = useQuery(sessionQuery);
  const queries = useQueryClient();
  const navigate = useNavigate();
  const leave = useMutation({
    mutationFn: endSession,
    onSettled: async () => {
      queries.clear();
      await navigate({ to: "/login", search: {} });
    },
  });
  return (
    <Menu position="right-end" shadow="md" width={200}>
      <Menu.Target>
        <UnstyledButton className={classes.account} aria-label="Account">
          <IconUserCircle size={22} stroke={1.6} />
        </UnstyledButton>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>
          <Text size="sm" fw={600} c="var(--mantine-color-text)">
            {data?.user}
          </Text>
          {data?.role}
        </Menu.Label>
        <Menu.Item leftSection={<IconLogout size={16} />} onClick={() => leave.mutate()}>
          Log out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
