import { Button, Group, Modal, Stack, Switch, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { get, request } from "../../api/client";
import type { Mode, Settings, SettingsChange } from "../../api/types";
import { sessionQuery } from "../session/session";

type Part = "containers" | "hosts";

const WORDS: Record<Part, { label: string; enable: string; disable: string }> = {
  containers: {
    label: "Containers",
    enable:
      "Defenders will see every new connection from and to containers before it is set up, and Radar will show all of them. Nothing is blocked unless a rule says so.",
    disable:
      "Defenders will stop judging containers' connections. Radar will show only their connections to the internet and those local to the host, and models will stop learning.",
  },
  hosts: {
    label: "Hosts",
    enable:
      "Defenders will see every new connection from and to the hosts' services before it is set up, and Radar will show all of them. Nothing is blocked unless a rule says so.",
    disable:
      "Defenders will stop judging the hosts' connections. Radar will show only connections to the internet and those local to the host, and models will stop learning.",
  },
};

/** Switches that enable CNNF for containers and for hosts; each asks before it acts. */
export function ModeSwitches({ mode, inline = false }: { mode: Mode; inline?: boolean }) {
  const [asked, setAsked] = useState<{ part: Part; to: boolean } | null>(null);
  const { data: session } = useQuery(sessionQuery);
  const queries = useQueryClient();
  const save = useMutation({
    mutationFn: async ({ part, to }: { part: Part; to: boolean }) => {
      // Read first: the version says which settings this change was made of.
      const held = await get<Settings>("/settings");
      const body: SettingsChange = {
        containers: held.containers,
        hosts: held.hosts,
        version: held.version,
        [part]: to,
      };
      return request<Settings>("PUT", "/settings", body);
    },
    onSuccess: async () => {
      setAsked(null);
      await queries.invalidateQueries({ queryKey: ["radar"] });
    },
  });
  const reading = session?.role === "viewer";
  const Layout = inline ? Group : Stack;
  return (
    <>
      <Layout gap={inline ? "lg" : "sm"}>
        {(["containers", "hosts"] as const).map((part) => (
          <Switch
            key={part}
            label={inline ? `Enable for ${part}` : WORDS[part].label}
            description={
              inline
                ? undefined
                : mode[part]
                  ? "Enabled: every connection is seen and judged"
                  : "Disabled: limited view"
            }
            checked={mode[part]}
            disabled={reading}
            onChange={(event) => setAsked({ part, to: event.currentTarget.checked })}
          />
        ))}
        {reading && (
          <Text size="xs" c="dimmed">
            Your role can look, but not change this.
          </Text>
        )}
      </Layout>
      <Modal
        opened={asked !== null}
        onClose={() => setAsked(null)}
        title={asked === null ? "" : `${asked.to ? "Enable" : "Disable"} for ${asked.part}?`}
        centered
        closeButtonProps={{ "aria-label": "Close" }}
      >
        {asked !== null && (
          <Stack>
            <Text size="sm">{asked.to ? WORDS[asked.part].enable : WORDS[asked.part].disable}</Text>
            {save.isError && (
              <Text size="sm" c="red" role="alert">
                {save.error.message}
              </Text>
            )}
            <Group justify="flex-end">
              <Button variant="default" onClick={() => setAsked(null)}>
                Cancel
              </Button>
              <Button
                color={asked.to ? "blue" : "red"}
                loading={save.isPending}
                onClick={() => save.mutate(asked)}
                data-autofocus
              >
                {asked.to ? "Enable" : "Disable"}
              </Button>
            </Group>
          </Stack>
        )}
      </Modal>
    </>
  );
}
