import { Badge, Group, Popover, ScrollArea, Stack, Text, UnstyledButton } from "@mantine/core";
import { IconShieldCheck, IconShieldExclamation, IconShieldOff } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import type { Condition, Defender } from "../../api/types";
import { formatAgo, plural } from "../../radar/format";
import classes from "./Health.module.css";
import { defendersQuery } from "./query";

/** How the Defenders are: a shield with their number, and behind it what is wrong with whom. */
export function Health() {
  const { data, isError } = useQuery(defendersQuery);
  const defenders = data ?? [];
  const live = defenders.filter((defender) => defender.live).length;
  const troubled = defenders.some((defender) =>
    defender.conditions.some((condition) => condition.severity !== "info"),
  );
  const well = !isError && live > 0 && live === defenders.length && !troubled;
  const Icon = live === 0 ? IconShieldOff : well ? IconShieldCheck : IconShieldExclamation;
  const label = `${live} of ${plural(defenders.length, "Defender")} live${troubled ? ", with conditions" : ""}`;
  return (
    <Popover position="right-end" width={380} shadow="md" withinPortal>
      <Popover.Target>
        <UnstyledButton
          className={classes.button}
          data-state={well ? "well" : live === 0 ? "off" : "warn"}
          data-testid="health"
        >
          <Icon size={22} stroke={1.6} aria-hidden />
          <span>
            {live}/{defenders.length}
          </span>
          <span className="visually-hidden">Health: {label}</span>
        </UnstyledButton>
      </Popover.Target>
      <Popover.Dropdown aria-label="Defenders' health">
        <Text fw={650} size="sm" mb="xs">
          {label}
        </Text>
        {defenders.length === 0 && (
          <Text size="sm" c="dimmed">
            No Defender has joined yet. <code>cnnf up</code> starts one on this machine.
          </Text>
        )}
        <ScrollArea.Autosize mah={360} type="auto">
          <Stack gap="sm">
            {defenders.map((defender) => (
              <DefenderEntry key={defender.id} defender={defender} />
            ))}
          </Stack>
        </ScrollArea.Autosize>
      </Popover.Dropdown>
    </Popover>
  );
}

function DefenderEntry({ defender }: { defender: Defender }) {
  return (
    <div>
      <Group justify="space-between" gap="xs" wrap="nowrap">
        <Text size="sm" fw={550} truncate>
          {defender.name}
        </Text>
        <Badge size="sm" variant="light" color={defender.live ? "teal" : "gray"} tt="none">
          {defender.live
            ? "live"
            : defender.seen_at === null
              ? "never heard of"
              : `last heard ${formatAgo(defender.seen_at, Date.now())}`}
        </Badge>
      </Group>
      {defender.conditions.map((condition) => (
        <ConditionEntry key={condition.code} condition={condition} />
      ))}
    </div>
  );
}

const COLORS: Record<Condition["severity"], string> = {
  info: "var(--mantine-color-dimmed)",
  warning: "var(--alert)",
  error: "var(--mantine-color-red-text)",
};

function ConditionEntry({ condition }: { condition: Condition }) {
  return (
    <Text size="xs" c={COLORS[condition.severity]} mt={2}>
      {condition.severity === "info" ? "" : `${condition.severity}: `}
      {condition.message}
    </Text>
  );
}
