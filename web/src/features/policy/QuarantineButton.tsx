import { Button, Group, Loader, Modal, Stack, Text, TextInput } from "@mantine/core";
import { IconLock, IconLockOpen } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import type { Quarantine } from "../../api/types";
import { sessionQuery } from "../session/session";
import { sendChange, useChange, useNewest, type Wanted } from "./change";
import { Outcome } from "./Outcome";
import { heldBy, quarantineBody, type Target, targetName } from "./quarantine";
import { quarantinesQuery } from "./query";
import { Refusal } from "./Refusal";

/** Isolates an app, a service or one instance, or ends that; asks before it acts. */
export function QuarantineButton({ target }: { target: Target }) {
  const { data: session } = useQuery(sessionQuery);
  const { data } = useQuery(quarantinesQuery);
  const [asked, setAsked] = useState<{ version: number } | null>(null);
  const newest = useNewest();
  const held = data === undefined ? undefined : heldBy(data, target);
  const mayChange = session !== undefined && session.role !== "viewer";
  const name = targetName(target);
  const ask = () => void newest().then((policy) => setAsked({ version: policy.version }));
  return (
    <>
      <Group gap="xs" data-testid="quarantine">
        {held !== undefined && (
          <Text size="xs" fw={600} c="var(--incident)" title={held.note}>
            {held.in_force ? "Quarantined" : "Quarantined, but other rules come before"}
          </Text>
        )}
        {mayChange && data !== undefined && (
          <Button
            size="compact-xs"
            variant="default"
            leftSection={
              held === undefined ? (
                <IconLock size={14} aria-hidden />
              ) : (
                <IconLockOpen size={14} aria-hidden />
              )
            }
            aria-label={`${held === undefined ? "Quarantine" : "Release"} ${name}`}
            onClick={ask}
          >
            {held === undefined ? "Quarantine" : "Release"}
          </Button>
        )}
      </Group>
      {asked !== null && (
        <QuarantineDialog
          target={target}
          held={held}
          version={asked.version}
          onClose={() => setAsked(null)}
        />
      )}
    </>
  );
}

interface DialogProps {
  target: Target;
  held: Quarantine | undefined;
  version: number;
  onClose: () => void;
}

function QuarantineDialog({ target, held: now, version, onClose }: DialogProps) {
  // What was asked about, whatever the list says meanwhile.
  const [held] = useState(now);
  const [base, setBase] = useState(version);
  const [reason, setReason] = useState("");
  const newest = useNewest();
  const change = useChange(onClose);
  const wanted: Wanted =
    held === undefined
      ? { method: "POST", path: "/policy/quarantine", body: quarantineBody(target), version: base }
      : {
          method: "DELETE",
          path: `/policy/quarantine/${encodeURIComponent(held.name)}`,
          version: base,
        };
  const preview = useQuery({
    queryKey: ["policy-preview", "quarantine", held?.name ?? null, wanted.body, base],
    queryFn: () => sendChange({ ...wanted, preview: true }),
    retry: false,
    gcTime: 0,
  });
  const failure = change.error ?? preview.error;
  const word = held === undefined ? "Quarantine" : "Release";
  return (
    <Modal
      opened
      onClose={onClose}
      title={`${word} ${targetName(target)}?`}
      size="lg"
      centered
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <Stack gap="sm">
        <Text size="sm">
          {held === undefined
            ? "All its connections, in and out, are prevented from now on, before any other rule; only what is never blocked (failsafe ports, the Console) gets through. Release takes it back."
            : "The rules that isolate it go. What the other rules say holds for it again."}
        </Text>
        {preview.isPending && <Loader size="sm" aria-label="Loading" />}
        {preview.data !== undefined && <Outcome outcome={preview.data} />}
        <TextInput
          label="Reason"
          description="For the history, and for whoever finds it isolated"
          value={reason}
          maxLength={500}
          data-autofocus
          onChange={(event) => setReason(event.currentTarget.value)}
        />
        {failure !== null && (
          <Refusal
            error={failure}
            version={base}
            onReload={() =>
              void newest().then((policy) => {
                setBase(policy.version);
                change.reset();
              })
            }
          />
        )}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button
            color={held === undefined ? "red" : "blue"}
            loading={change.isPending}
            disabled={preview.data === undefined}
            onClick={() => change.mutate({ ...wanted, reason })}
          >
            {word}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
