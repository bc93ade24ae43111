import { useDraggable, useDroppable } from "@dnd-kit/core";
import { ActionIcon, Menu, Switch } from "@mantine/core";
import {
  IconArrowBarToDown,
  IconArrowBarToUp,
  IconArrowsVertical,
  IconDotsVertical,
  IconEdit,
  IconGripVertical,
  IconTrash,
} from "@tabler/icons-react";
import type { Finding, Hits, Rule } from "../../api/types";
import { formatAgo, formatNumber, formatTime } from "../../radar/format";
import { EffectWord } from "./EffectWord";
import { FindingLine } from "./Outcome";
import classes from "./RuleGrid.module.css";
import { portsText } from "./words";

export interface RowActions {
  open(rule: Rule): void;
  toggle(rule: Rule): void;
  remove(rule: Rule): void;
  /** To a place that is asked for, or to one end. */
  moveTo(rule: Rule, where: "ask" | "first" | "last"): void;
  /** Shows the rule or object that a finding comes from. */
  cause(name: string): void;
}

interface Props {
  rule: Rule;
  position: number;
  count: number;
  index: number;
  start: number;
  now: number;
  hits: Hits | undefined;
  findings: readonly Finding[];
  mayChange: boolean;
  reorderable: boolean;
  /** Only one row's controls are reached with Tab; the arrow keys go to the others'. */
  tabbed: boolean;
  marked: boolean;
  lifted: boolean;
  drop: "before" | "after" | null;
  actions: RowActions;
  measure: (element: HTMLElement | null) => void;
}

/** Objects named on a side before the others are only counted. */
const SIDE_SHOWN = 4;

export function RuleRow(props: Props) {
  const { rule, position, index, mayChange, reorderable, tabbed, actions, now, hits } = props;
  const enabled = rule.enabled ?? true;
  const tabIndex = tabbed ? 0 : -1;
  const drag = useDraggable({ id: rule.name, disabled: !reorderable });
  const drop = useDroppable({ id: rule.name, disabled: !reorderable });
  const expired = rule.expires ? Date.parse(rule.expires) <= now : false;
  const about = [
    rule.note,
    rule.owner ? `Owner: ${rule.owner}` : "",
    rule.expires ? `${expired ? "Expired" : "Expires"} ${formatTime(rule.expires, now)}` : "",
  ].filter(Boolean);
  return (
    <div
      ref={(element) => {
        props.measure(element);
        drop.setNodeRef(element);
      }}
      role="row"
      aria-rowindex={position + 2}
      data-index={index}
      data-rule={rule.name}
      data-enabled={enabled}
      data-marked={props.marked}
      data-lifted={props.lifted}
      data-dragged={drag.isDragging}
      data-drop={props.drop ?? undefined}
      className={classes.row}
      style={{ transform: `translateY(${props.start}px)` }}
    >
      <div role="gridcell" className={classes.tight}>
        {mayChange && (
          <button
            type="button"
            ref={drag.setNodeRef}
            {...drag.listeners}
            aria-roledescription="draggable"
            aria-describedby="reorder-help"
            aria-label={`Move ${rule.name}, position ${position + 1} of ${props.count}`}
            data-control="handle"
            tabIndex={tabIndex}
            disabled={!reorderable}
            className={classes.handle}
          >
            <IconGripVertical size={16} stroke={1.7} aria-hidden />
          </button>
        )}
      </div>
      <div role="gridcell" className={`${classes.cell} ${classes.number} ${classes.position}`}>
        {formatNumber(position + 1)}
      </div>
      <div role="gridcell" className={classes.cell} data-column="enabled">
        {mayChange ? (
          <Switch
            size="xs"
            checked={enabled}
            aria-label={`${rule.name} enabled`}
            data-control="enabled"
            tabIndex={tabIndex}
            onChange={() => actions.toggle(rule)}
          />
        ) : enabled ? (
          "On"
        ) : (
          "Off"
        )}
      </div>
      <div role="rowheader" className={classes.cell} data-column="name">
        <button
          type="button"
          className={classes.name}
          data-control="name"
          tabIndex={tabIndex}
          onClick={() => actions.open(rule)}
        >
          {rule.name}
        </button>
        {about.length > 0 && (
          <div className={classes.about} title={about.join("\n")}>
            {about.join(" · ")}
          </div>
        )}
      </div>
      <div role="gridcell" className={classes.cell} data-column="source">
        <Side names={rule.source ?? []} />
      </div>
      <div role="gridcell" className={classes.cell} data-column="destination">
        <Side names={rule.destination ?? []} />
      </div>
      <div role="gridcell" className={classes.cell} data-column="ports">
        {portsText(rule)}
      </div>
      <div role="gridcell" className={classes.cell} data-column="effect">
        <EffectWord effect={rule.effect} />
      </div>
      <div role="gridcell" className={`${classes.cell} ${classes.number}`} data-column="hits">
        {hits === undefined ? "" : formatNumber(hits.hits)}
      </div>
      <div role="gridcell" className={`${classes.cell} ${classes.number}`} data-column="last">
        {hits?.last_hit ? (
          <span title={hits.last_hit}>{formatAgo(hits.last_hit, now)}</span>
        ) : (
          <span className={classes.any}>never</span>
        )}
      </div>
      <div role="gridcell" className={classes.tight}>
        {mayChange && <RowMenu {...props} tabIndex={tabIndex} />}
      </div>
      {props.findings.length > 0 && (
        <div role="gridcell" className={classes.findings}>
          {props.findings.map((finding) => (
            <FindingLine
              key={`${finding.kind} ${finding.message}`}
              finding={finding}
              onCause={actions.cause}
            />
          ))}
        </div>
      )}
    </div>
  );
}

function RowMenu({ rule, actions, reorderable, tabIndex }: Props & { tabIndex: number }) {
  return (
    <Menu position="bottom-end" shadow="md" width={200} withinPortal>
      <Menu.Target>
        <ActionIcon
          variant="subtle"
          color="gray"
          aria-label={`Actions for ${rule.name}`}
          data-control="menu"
          tabIndex={tabIndex}
        >
          <IconDotsVertical size={17} stroke={1.7} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item leftSection={<IconEdit size={16} />} onClick={() => actions.open(rule)}>
          Edit
        </Menu.Item>
        <Menu.Item
          leftSection={<IconArrowsVertical size={16} />}
          onClick={() => actions.moveTo(rule, "ask")}
        >
          Move to…
        </Menu.Item>
        <Menu.Item
          leftSection={<IconArrowBarToUp size={16} />}
          disabled={!reorderable}
          onClick={() => actions.moveTo(rule, "first")}
        >
          Move to the top
        </Menu.Item>
        <Menu.Item
          leftSection={<IconArrowBarToDown size={16} />}
          disabled={!reorderable}
          onClick={() => actions.moveTo(rule, "last")}
        >
          Move to the end
        </Menu.Item>
        <Menu.Divider />
        <Menu.Item
          color="red"
          leftSection={<IconTrash size={16} />}
          onClick={() => actions.remove(rule)}
        >
          Delete
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

function Side({ names }: { names: readonly string[] }) {
  if (names.length === 0) return <span className={classes.any}>any</span>;
  const shown = names.slice(0, SIDE_SHOWN);
  return (
    <div className={classes.chips} title={names.join(", ")}>
      {shown.map((name) => (
        <span className={classes.chip} key={name}>
          {name}
        </span>
      ))}
      {names.length > shown.length && (
        <span className={classes.any}>+{names.length - shown.length}</span>
      )}
    </div>
  );
}
