import { Button, Group, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useState } from "react";
import type { GraphEdge, GraphNode, Policy, RuleEffect } from "../../api/types";
import { sessionQuery } from "../session/session";
import { useNewest } from "./change";
import type { RuleDraft } from "./draft";
import { EffectWord } from "./EffectWord";
import { edgeDraft } from "./ends";
import { EFFECTS } from "./words";

const RuleDrawer = lazy(() =>
  import("./RuleDrawer").then((module) => ({ default: module.RuleDrawer })),
);

interface Props {
  edge: GraphEdge;
  source: GraphNode;
  target: GraphNode;
}

/** Ways from an edge to a rule about it, which is looked at before it is in force. */
export function MakeRule({ edge, source, target }: Props) {
  const { data: session } = useQuery(sessionQuery);
  const [editing, setEditing] = useState<{ draft: RuleDraft; base: Policy } | null>(null);
  const [failure, setFailure] = useState("");
  const [done, setDone] = useState("");
  const newest = useNewest();
  if (session === undefined || session.role === "viewer") return null;
  const start = (effect: RuleEffect) =>
    void newest().then(
      (policy) => {
        setFailure("");
        setDone("");
        setEditing({ draft: edgeDraft(edge, source, target, effect, policy), base: policy });
      },
      (error: Error) => setFailure(error.message),
    );
  return (
    <>
      <Group gap="xs" grow>
        {EFFECTS.map((effect) => (
          <Button key={effect} size="xs" variant="default" onClick={() => start(effect)}>
            <EffectWord effect={effect} />
          </Button>
        ))}
      </Group>
      {failure !== "" && (
        <Text size="sm" c="red" role="alert" mt="xs">
          {failure}
        </Text>
      )}
      {done !== "" && (
        <Text size="sm" role="status" mt="xs">
          Rule {done} is in force.
        </Text>
      )}
      {editing !== null && (
        <Suspense fallback={null}>
          <RuleDrawer
            initial={editing.draft}
            base={editing.base}
            readOnly={false}
            intro={`Made of what was seen from ${source.name} to ${target.name}. Nothing is in force until you add it.`}
            onClose={() => setEditing(null)}
            onSaved={(name) => {
              setEditing(null);
              setDone(name);
            }}
          />
        </Suspense>
      )}
    </>
  );
}
