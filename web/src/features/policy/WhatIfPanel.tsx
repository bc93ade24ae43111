import { Button, Group, Select, Stack, Text, Title } from "@mantine/core";
import { IconHistory } from "@tabler/icons-react";
import { useMutation } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import type { Newly, WhatIf } from "../../api/types";
import { formatCause, formatNumber, plural } from "../../radar/format";
import type { PolicyDocument } from "./draft";
import { EffectWord } from "./EffectWord";
import classes from "./Policy.module.css";
import { Refusal } from "./Refusal";
import { askWhatIf, endText, NEWLY, WHAT_IF_WINDOWS } from "./whatif";

/** Flows written out before the others are only counted. */
const FLOWS_SHOWN = 20;

/** “What would this do?”: the draft judged against what was recorded. */
export function WhatIfPanel({ draft }: { draft: () => PolicyDocument | string }) {
  const [window, setWindow] = useState("24h");
  const ask = useMutation({ mutationFn: () => askWhatIf(draft(), window) });
  return (
    <Stack gap="sm" data-testid="what-if">
      <Group gap="xs">
        <Button
          variant="default"
          size="sm"
          leftSection={<IconHistory size={16} aria-hidden />}
          loading={ask.isPending}
          onClick={() => ask.mutate()}
        >
          What would this do?
        </Button>
        <Select
          aria-label="Judged against"
          size="sm"
          w={150}
          allowDeselect={false}
          value={window}
          data={[...WHAT_IF_WINDOWS]}
          onChange={(value) => setWindow(value ?? "24h")}
        />
      </Group>
      {ask.error !== null && <Refusal error={ask.error} version={0} />}
      {ask.data !== undefined && <Answer answer={ask.data} />}
    </Stack>
  );
}

function Answer({ answer }: { answer: WhatIf }) {
  const { judged, unjudged, policy } = answer;
  const box = useRef<HTMLDivElement>(null);
  // It stands below what was pressed, where a drawer may end.
  useEffect(() => {
    box.current?.scrollIntoView({ block: "nearest" });
  }, []);
  const same = NEWLY.every(({ key }) => policy[key].flows === 0);
  return (
    <div className={classes.outcome} role="status" ref={box}>
      <Title order={3}>
        {same
          ? "Nothing that was recorded would be decided otherwise"
          : "What was recorded would be decided otherwise than by the policy in force"}
      </Title>
      {NEWLY.map(({ key, word, effect }) =>
        policy[key].flows === 0 ? null : (
          <Part key={key} word={word} effect={effect} newly={policy[key]} />
        ),
      )}
      <Text size="xs" c="dimmed">
        {plural(judged.flows, "flow")} with {plural(judged.connections, "connection")} judged
        {unjudged.flows > 0 &&
          `; ${formatNumber(unjudged.flows)} more could not be: their port or ends are not kept`}
        .
      </Text>
    </div>
  );
}

interface PartProps {
  word: string;
  effect: (typeof NEWLY)[number]["effect"];
  newly: Newly;
}

function Part({ word, effect, newly }: PartProps) {
  const shown = newly.listed.slice(0, FLOWS_SHOWN);
  const more = newly.flows - shown.length;
  return (
    <div>
      <Group gap="xs" mb={4}>
        <EffectWord effect={effect} />
        <Text size="sm">
          {word}: {plural(newly.flows, "flow")}, {plural(newly.connections, "connection")}
        </Text>
      </Group>
      {newly.rules.slice(0, 5).map((rule) => (
        <Text size="xs" c="dimmed" key={rule.cause}>
          {plural(rule.flows, "flow")} by {formatCause(rule.cause)}
        </Text>
      ))}
      <ul className={classes.differences} aria-label={word}>
        {shown.map((flow) => (
          <li
            key={`${endText(flow.source)} ${endText(flow.destination)} ${flow.port} ${flow.protocol} ${flow.before.cause}`}
            title={flow.reason}
          >
            {endText(flow.source)} → {endText(flow.destination)}, {flow.port}
            {flow.protocol === "udp" ? "/udp" : ""}: {flow.certain ? "" : "up to "}
            {plural(flow.connections, "connection")}
            <span className={classes.dim}> · {formatCause(flow.cause)}</span>
          </li>
        ))}
      </ul>
      {more > 0 && (
        <Text size="xs" c="dimmed">
          and {plural(more, "more flow")}
        </Text>
      )}
    </div>
  );
}
