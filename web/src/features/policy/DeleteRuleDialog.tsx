import { Button, Group, Modal, Stack, Text, TextInput } from "@mantine/core";
import { useState } from "react";
import type { Rule } from "../../api/types";
import { useChange, useNewest } from "./change";
import { Refusal } from "./Refusal";

interface Props {
  rule: Rule;
  version: number;
  onClose: () => void;
}

/** Asks once more before a rule goes. */
export function DeleteRuleDialog({ rule, version, onClose }: Props) {
  const [reason, setReason] = useState("");
  // The version that was looked at when this was asked, however often the page is renewed.
  const [base, setBase] = useState(version);
  const change = useChange(onClose);
  const newest = useNewest();
  return (
    <Modal
      opened
      onClose={onClose}
      title={`Delete ${rule.name}?`}
      centered
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <Stack gap="sm">
        <Text size="sm">
          What it decided is decided by the rules after it, or allowed. The version that has it
          stays in the history.
        </Text>
        <TextInput
          label="Reason"
          description="For the history"
          value={reason}
          maxLength={500}
          onChange={(event) => setReason(event.currentTarget.value)}
        />
        {change.error !== null && (
          <Refusal
            error={change.error}
            version={base}
            onReload={() => {
              void newest().then((policy) => {
                setBase(policy.version);
                change.reset();
              });
            }}
          />
        )}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose} data-autofocus>
            Cancel
          </Button>
          <Button
            color="red"
            loading={change.isPending}
            onClick={() =>
              change.mutate({
                method: "DELETE",
                path: `/policy/rules/${encodeURIComponent(rule.name)}`,
                version: base,
                reason,
              })
            }
          >
            Delete
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
