import {
  ActionIcon,
  Divider,
  Popover,
  SegmentedControl,
  Select,
  TextInput,
  Title,
  UnstyledButton,
} from "@mantine/core";
import {
  IconAdjustments,
  IconMap,
  IconSearch,
  IconStack2,
  IconTable,
  IconX,
} from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import type { LiveState } from "../../api/stream";
import type { Graph } from "../../api/types";
import { LiveBadge } from "../../components/LiveBadge";
import { plural } from "../../radar/format";
import { objectsQuery } from "../policy/query";
import { ModeSwitches } from "./ModeSwitches";
import { RefusalSettings } from "./RefusalSettings";
import { type RadarSearch, WINDOWS } from "./search";
import classes from "./Toolbar.module.css";

interface Props {
  search: RadarSearch;
  change: (part: Partial<RadarSearch>) => void;
  live: LiveState;
  graph: Graph | undefined;
  hits: number | null;
  onEnter: () => void;
}

const icon = (Icon: typeof IconMap, text: string) => (
  <span className={classes.segment}>
    <Icon size={16} stroke={1.7} aria-hidden />
    {text}
  </span>
);

export function Toolbar({ search, change, live, graph, hits, onEnter }: Props) {
  return (
    <header className={classes.bar}>
      <Title order={1} className={classes.title}>
        Radar
      </Title>
      <SegmentedControl
        aria-label="View"
        size="sm"
        value={search.view}
        onChange={(view) => change({ view: view === "hosts" ? "hosts" : "containers" })}
        data={[
          { value: "containers", label: "Containers" },
          { value: "hosts", label: "Hosts" },
        ]}
      />
      <Select
        aria-label="Time window"
        className={classes.window}
        size="sm"
        value={search.window}
        allowDeselect={false}
        onChange={(value) => {
          const window = WINDOWS.find((one) => one.value === value)?.value;
          if (window !== undefined) change({ window });
        }}
        data={WINDOWS.map(({ value, label }) => ({ value, label }))}
        comboboxProps={{ shadow: "md" }}
      />
      <SegmentedControl
        aria-label="Nodes shown"
        size="sm"
        className={classes.wide}
        value={search.show}
        onChange={(show) => change({ show: show === "connected" ? "connected" : "all" })}
        data={[
          { value: "all", label: "All" },
          { value: "connected", label: "Connected" },
        ]}
      />
      <ObjectSelect search={search} change={change} />
      <search className={classes.search}>
        <TextInput
          aria-label="Search nodes"
          placeholder="Search name, tag, host or port"
          size="sm"
          value={search.q ?? ""}
          leftSection={<IconSearch size={16} stroke={1.7} aria-hidden />}
          rightSection={
            search.q ? (
              <ActionIcon
                variant="subtle"
                color="gray"
                size="sm"
                aria-label="Clear the search"
                onClick={() => change({ q: undefined })}
              >
                <IconX size={14} />
              </ActionIcon>
            ) : null
          }
          onChange={(event) => change({ q: event.currentTarget.value || undefined })}
          onKeyDown={(event) => {
            if (event.key === "Enter") onEnter();
            if (event.key === "Escape") change({ q: undefined });
          }}
        />
        <span className={classes.hits} role="status">
          {hits === null ? "" : hits === 0 ? "No match" : plural(hits, "match", "matches")}
        </span>
      </search>
      <div className={classes.end}>
        {graph !== undefined && <ModeButton graph={graph} />}
        <LiveBadge live={live} />
        <SegmentedControl
          aria-label="Shown as"
          size="sm"
          value={search.as}
          onChange={(as) => change({ as: as === "table" ? "table" : "map" })}
          data={[
            { value: "map", label: icon(IconMap, "Map") },
            { value: "table", label: icon(IconTable, "Table") },
          ]}
        />
      </div>
    </header>
  );
}

/** Options drawn at once; typing narrows them. */
const OPTIONS_MAX = 60;

/** Shows only what connects to one network object, or it to others. */
function ObjectSelect({ search, change }: Pick<Props, "search" | "change">) {
  const { data: objects } = useQuery(objectsQuery);
  const names = objects?.map(({ object }) => object.name) ?? [];
  const chosen = search.object;
  if (names.length === 0 && chosen === undefined) return null;
  return (
    <Select
      aria-label="Network object"
      placeholder="Any object"
      className={classes.object}
      size="sm"
      searchable
      clearable
      limit={OPTIONS_MAX}
      value={chosen ?? null}
      data={chosen === undefined || names.includes(chosen) ? names : [chosen, ...names]}
      nothingFoundMessage="No network object is called so"
      leftSection={<IconStack2 size={16} stroke={1.7} aria-hidden />}
      comboboxProps={{ shadow: "md", width: 260, position: "bottom-start" }}
      onChange={(object) => change({ object: object ?? undefined })}
    />
  );
}

function ModeButton({ graph }: { graph: Graph }) {
  const word = graph.mode.limited ? "Limited view" : "Enabled";
  return (
    <Popover position="bottom-end" shadow="md" width={340}>
      <Popover.Target>
        <UnstyledButton className={classes.mode} aria-label={`${word}: what is enabled`}>
          <IconAdjustments size={18} stroke={1.6} aria-hidden />
          <span className={classes.modeText}>{word}</span>
        </UnstyledButton>
      </Popover.Target>
      <Popover.Dropdown aria-label="What is enabled">
        <ModeSwitches mode={graph.mode} />
        <Divider my="sm" />
        <RefusalSettings />
      </Popover.Dropdown>
    </Popover>
  );
}
