import { Alert, Button, Code, CopyButton, Group, Modal, Stack, Text } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { useEffect } from "react";
import { request } from "../../api/client";
import type { JoinToken } from "../../api/types";
import { useNow } from "../../components/useNow";
import { formatTime } from "../../radar/format";
import classes from "./DefendersPage.module.css";
import { joinCommand, reachable } from "./describe";

/** Makes a join token and shows what to do with it; it is shown this once. */
export function JoinDialog({ onClose }: { onClose: () => void }) {
  const now = useNow(30_000);
  const { mutate, data, error } = useMutation({
    mutationFn: () => request<JoinToken>("POST", "/defenders/tokens"),
  });
  useEffect(() => mutate(), [mutate]);
  return (
    <Modal
      opened
      onClose={onClose}
      title="Let a host join"
      size="lg"
      centered
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <Stack gap="sm" data-testid="join">
        {error !== null && <Alert color="red">{error.message}</Alert>}
        {data !== undefined && (
          <>
            {!reachable(data) && (
              <Alert color="orange" title="Other hosts cannot reach this Console">
                It listens on its own machine only. Start it with <code>--listen</code>,{" "}
                <code>--defender-listen</code> and <code>--advertise</code> for an address that they
                reach.
              </Alert>
            )}
            <Text size="sm">
              This token lets one host join, once, until {formatTime(data.expires_at, now)}. It is
              shown now only. Put it into a file that only root can read, here called{" "}
              <code>token</code>:
            </Text>
            <Copied text={data.token} label="Copy the token" testId="join-token" />
            <Text size="sm">Then, on the host that is to join:</Text>
            <Copied
              text={`${joinCommand(data)}\nsudo cnnf defender run`}
              label="Copy the commands"
              testId="join-command"
            />
          </>
        )}
        <Group justify="flex-end">
          <Button onClick={onClose}>Done</Button>
        </Group>
      </Stack>
    </Modal>
  );
}

function Copied({ text, label, testId }: { text: string; label: string; testId: string }) {
  return (
    <div className={classes.copied}>
      <Code block data-testid={testId} className={classes.code}>
        {text}
      </Code>
      <CopyButton value={text}>
        {({ copied, copy }) => (
          <Button size="compact-sm" variant="default" onClick={copy} aria-label={label}>
            {copied ? "Copied" : "Copy"}
          </Button>
        )}
      </CopyButton>
    </div>
  );
}
