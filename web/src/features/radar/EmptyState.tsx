import { ActionIcon, Button, CopyButton, Text, Title, Tooltip } from "@mantine/core";
import { IconCheck, IconCopy, IconPlugOff, IconRadar2 } from "@tabler/icons-react";
import type { View } from "../../api/types";
import { plural } from "../../radar/format";
import classes from "./EmptyState.module.css";

const COMMANDS = ["make demo", "sudo .venv/bin/cnnf demo"] as const;

/** Nothing runs yet: says what will appear, and offers the demo. */
export function EmptyState({ view, defenders }: { view: View; defenders: number }) {
  const what = view === "containers" ? "containers" : "services";
  return (
    <div className={classes.middle}>
      <IconRadar2 size={52} stroke={1.2} className={classes.sign} aria-hidden />
      <Title order={2} size="h3">
        {defenders === 0 ? "No Defender has joined yet" : `No ${what} to show yet`}
      </Title>
      <Text c="dimmed" ta="center" maw={460}>
        {defenders === 0
          ? "A Defender on each host reports what runs there and what it connects to. cnnf up starts one on this machine."
          : `As soon as ${what} run on a host with a Defender, they appear here with their connections, without reloading.`}
      </Text>
      <Text mt="md" fw={600} size="sm">
        See it with a demo estate of real containers:
      </Text>
      {COMMANDS.map((command) => (
        <div className={classes.command} key={command}>
          <code>{command}</code>
          <CopyButton value={command}>
            {({ copied, copy }) => (
              <Tooltip label={copied ? "Copied" : "Copy"}>
                <ActionIcon
                  variant="subtle"
                  color={copied ? "teal" : "gray"}
                  onClick={copy}
                  aria-label={`Copy ${command}`}
                >
                  {copied ? <IconCheck size={16} /> : <IconCopy size={16} />}
                </ActionIcon>
              </Tooltip>
            )}
          </CopyButton>
        </div>
      ))}
    </div>
  );
}

/** Things run, but none has connected, and only connected ones are asked for. */
export function NothingConnected({ count, onShowAll }: { count: number; onShowAll: () => void }) {
  return (
    <div className={classes.middle}>
      <IconPlugOff size={48} stroke={1.2} className={classes.sign} aria-hidden />
      <Title order={2} size="h3">
        Nothing has connected in this window
      </Title>
      <Text c="dimmed">{plural(count, "node")} without connections are hidden.</Text>
      <Button variant="light" onClick={onShowAll}>
        Show all
      </Button>
    </div>
  );
}

/** Only the connections of one network object are asked for, and there are none. */
export function NothingOfObject(props: { name: string; view: View; onShowAll: () => void }) {
  return (
    <div className={classes.middle}>
      <IconPlugOff size={48} stroke={1.2} className={classes.sign} aria-hidden />
      <Title order={2} size="h3">
        No connection of {props.name}
      </Title>
      <Text c="dimmed">
        Nothing of this network object was seen among {props.view} in this window.
      </Text>
      <Button variant="light" onClick={props.onShowAll}>
        Show all connections
      </Button>
    </div>
  );
}

export function Unreachable({ message }: { message: string }) {
  return (
    <div className={classes.middle} role="alert">
      <IconPlugOff size={48} stroke={1.2} className={classes.sign} aria-hidden />
      <Title order={2} size="h3">
        The map cannot be loaded
      </Title>
      <Text c="dimmed">{message} Trying again.</Text>
    </div>
  );
}
