import { ActionIcon, Group, Menu, Popover, UnstyledButton } from "@mantine/core";
import { IconArrowsLeftRight, IconDotsVertical, IconEdit, IconTrash } from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useRef } from "react";
import type { Finding, ListedObject, NetworkObject, ObjectUse } from "../../api/types";
import { formatNumber, plural } from "../../radar/format";
import classes from "./ObjectGrid.module.css";
import { FindingLine } from "./Outcome";
import policyClasses from "./Policy.module.css";
import { KIND_WORDS, narrowedBy } from "./words";

const HOME = "/defend/firewalls/cnnf";
const ROW_HEIGHT = 45;
const HEADINGS = ["Name", "Type", "Values", "Narrowed by", "Used by"];

interface GridProps {
  objects: readonly ListedObject[];
  findings: ReadonlyMap<string, Finding[]>;
  mayChange: boolean;
  onOpen: (one: ListedObject) => void;
  onDelete: (one: ListedObject) => void;
  onConnections: (one: ListedObject) => void;
}

/** The network objects, of which only those in sight are drawn. */
export function ObjectGrid(props: GridProps) {
  const { objects, findings, onOpen } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: objects.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_HEIGHT,
    overscan: 10,
    getItemKey: (index) => objects[index]?.object.name ?? index,
  });
  return (
    <div className={classes.wrap} ref={scroller}>
      <div
        role="table"
        aria-label="Network objects"
        aria-rowcount={objects.length + 1}
        className={classes.grid}
        data-testid="objects"
      >
        <div role="rowgroup" className={classes.head}>
          <div role="row" aria-rowindex={1} className={classes.row}>
            {HEADINGS.map((heading) => (
              <div
                role="columnheader"
                className={`${classes.cell} ${classes.heading}`}
                key={heading}
              >
                {heading}
              </div>
            ))}
            <div role="columnheader">
              <span className="visually-hidden">Actions</span>
            </div>
          </div>
        </div>
        <div role="rowgroup" className={classes.body} style={{ height: virtual.getTotalSize() }}>
          {virtual.getVirtualItems().map((item) => {
            const one = objects[item.index];
            if (one === undefined) return null;
            return (
              <div
                key={one.object.name}
                ref={virtual.measureElement}
                role="row"
                aria-rowindex={item.index + 2}
                data-index={item.index}
                data-object={one.object.name}
                className={classes.row}
                style={{ transform: `translateY(${item.start}px)` }}
              >
                <div role="rowheader" className={classes.cell}>
                  <button type="button" className={classes.name} onClick={() => onOpen(one)}>
                    {one.object.name}
                  </button>
                  {(findings.get(one.object.name) ?? []).map((finding) => (
                    <FindingLine key={`${finding.kind} ${finding.message}`} finding={finding} />
                  ))}
                </div>
                <div role="cell" className={classes.cell}>
                  {KIND_WORDS[one.object.type].word}
                </div>
                <div role="cell" className={classes.cell}>
                  <Values object={one.object} />
                </div>
                <div role="cell" className={`${classes.cell} ${policyClasses.dim}`}>
                  {narrowedBy(one.object).map((line) => (
                    <div key={line}>{line}</div>
                  ))}
                </div>
                <div role="cell" className={classes.cell}>
                  <Uses uses={one.used_by} />
                </div>
                <div role="cell" className={classes.tight}>
                  <Actions one={one} {...props} />
                </div>
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}

/** Values written out before the others are only counted. */
const VALUES_SHOWN = 4;

function Values({ object }: { object: NetworkObject }) {
  const shown = object.values.slice(0, VALUES_SHOWN);
  const more = object.values.length - shown.length;
  return (
    <div className={policyClasses.mono} title={object.values.slice(0, 100).join("\n")}>
      {shown.join(", ")}
      {more > 0 && <span className={policyClasses.dim}> and {formatNumber(more)} more</span>}
    </div>
  );
}

/** Rules that name an object, as ways to them. */
const USES_SHOWN = 200;

function Uses({ uses }: { uses: readonly ObjectUse[] }) {
  const rules = [...new Map(uses.map((use) => [use.rule, use.list]))];
  if (rules.length === 0) return <span className={policyClasses.dim}>no rule</span>;
  return (
    <Popover position="bottom-start" shadow="md" width={320} withinPortal>
      <Popover.Target>
        <UnstyledButton className={policyClasses.link}>
          {plural(rules.length, "rule")}
        </UnstyledButton>
      </Popover.Target>
      <Popover.Dropdown aria-label="Rules that name it" className={classes.uses}>
        {rules.slice(0, USES_SHOWN).map(([rule, list]) => (
          <Group key={rule} justify="space-between" wrap="nowrap" gap="sm">
            <Link to={`${HOME}/${list}`} search={{ rule }} className={policyClasses.link}>
              {rule}
            </Link>
            <span className={policyClasses.dim}>{list}</span>
          </Group>
        ))}
        {rules.length > USES_SHOWN && (
          <span className={policyClasses.dim}>
            and {formatNumber(rules.length - USES_SHOWN)} more
          </span>
        )}
      </Popover.Dropdown>
    </Popover>
  );
}

function Actions({
  one,
  mayChange,
  onOpen,
  onDelete,
  onConnections,
}: Omit<GridProps, "objects" | "findings"> & { one: ListedObject }) {
  return (
    <Menu position="bottom-end" shadow="md" width={180} withinPortal>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" aria-label={`Actions for ${one.object.name}`}>
          <IconDotsVertical size={17} stroke={1.7} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item
          leftSection={<IconArrowsLeftRight size={16} />}
          onClick={() => onConnections(one)}
        >
          Connections
        </Menu.Item>
        {mayChange && (
          <>
            <Menu.Item leftSection={<IconEdit size={16} />} onClick={() => onOpen(one)}>
              Edit or rename
            </Menu.Item>
            <Menu.Item
              color="red"
              leftSection={<IconTrash size={16} />}
              onClick={() => onDelete(one)}
            >
              Delete
            </Menu.Item>
          </>
        )}
      </Menu.Dropdown>
    </Menu>
  );
}
