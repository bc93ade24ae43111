import { SegmentedControl, Stack, Switch, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useId } from "react";
import { get, request } from "../../api/client";
import type { Settings, SettingsChange } from "../../api/types";
import { sessionQuery } from "../session/session";

type Change = Partial<Pick<Settings, "udp" | "refuse_with" | "cut">>;

/** How Defenders judge and refuse, each in a sentence. Changes are in force at once. */
export function RefusalSettings() {
  const refuse = useId();
  const queries = useQueryClient();
  const { data: session } = useQuery(sessionQuery);
  const { data: settings, error } = useQuery({
    queryKey: ["settings"],
    queryFn: () => get<Settings>("/settings"),
    staleTime: 0,
  });
  const save = useMutation({
    mutationFn: async (change: Change) => {
      // Read first: the version says which settings this change was made of.
      const { containers, hosts, version } = await get<Settings>("/settings");
      const body: SettingsChange = { containers, hosts, version, ...change };
      return request<Settings>("PUT", "/settings", body);
    },
    onSettled: () => queries.invalidateQueries({ queryKey: ["settings"] }),
  });
  const failure = save.error ?? error;
  // What was chosen is shown while it is being saved.
  const shown = settings === undefined ? undefined : { ...settings, ...save.variables };
  const held = save.isPending ? shown : settings;
  if (held === undefined) return failure === null ? null : <Failure message={failure.message} />;
  const fixed = session?.role === "viewer" || save.isPending;
  return (
    <Stack gap="sm">
      <Switch
        label="Judge UDP too"
        description="Rules are asked about UDP as well, once for each new pair of ends. Off, UDP passes unseen."
        checked={held.udp}
        disabled={fixed}
        onChange={(event) => save.mutate({ udp: event.currentTarget.checked })}
      />
      <Switch
        label="Cut living connections"
        description="When rules change, connections that are open and no longer allowed are ended. Off, only new ones are prevented."
        checked={held.cut}
        disabled={fixed}
        onChange={(event) => save.mutate({ cut: event.currentTarget.checked })}
      />
      <div>
        <Text size="sm" id={refuse}>
          A prevented client gets
        </Text>
        <SegmentedControl
          aria-labelledby={refuse}
          fullWidth
          size="xs"
          my={4}
          value={held.refuse_with}
          disabled={fixed}
          onChange={(value) => save.mutate({ refuse_with: value === "drop" ? "drop" : "reset" })}
          data={[
            { value: "reset", label: "A refusal" },
            { value: "drop", label: "No answer" },
          ]}
        />
        <Text size="xs" c="dimmed">
          {held.refuse_with === "reset"
            ? "It is told at once, by a reset (for UDP by ICMP), as if nobody listened there."
            : "Its packets are dropped: it waits until its own timeout, and learns nothing."}
        </Text>
      </div>
      {failure !== null && <Failure message={failure.message} />}
    </Stack>
  );
}

function Failure({ message }: { message: string }) {
  return (
    <Text size="sm" c="red" role="alert">
      {message}
    </Text>
  );
}
