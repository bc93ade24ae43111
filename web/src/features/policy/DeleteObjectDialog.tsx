import { Button, Group, Loader, Modal, Stack, Text, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import type { ListedObject } from "../../api/types";
import { plural } from "../../radar/format";
import { sendChange, useChange, useNewest, type Wanted } from "./change";
import { Outcome } from "./Outcome";
import { Refusal } from "./Refusal";

interface Props {
  listed: ListedObject;
  version: number;
  onClose: () => void;
}

/** Shows what the policy is without the object before it goes. */
export function DeleteObjectDialog({ listed, version, onClose }: Props) {
  const { name } = listed.object;
  const [reason, setReason] = useState("");
  const [base, setBase] = useState(version);
  const rules = new Set(listed.used_by.map((use) => use.rule)).size;
  const newest = useNewest();
  const change = useChange(onClose);
  const wanted: Wanted = {
    method: "DELETE",
    path: `/policy/objects/${encodeURIComponent(name)}`,
    // The rules were told of below: whoever goes on wants them changed.
    query: rules > 0 ? { carry: "true" } : {},
    version: base,
  };
  const preview = useQuery({
    queryKey: ["policy-preview", "delete-object", name, base],
    queryFn: () => sendChange({ ...wanted, preview: true }),
    retry: false,
    gcTime: 0,
  });
  const failure = change.error ?? preview.error;
  return (
    <Modal
      opened
      onClose={onClose}
      title={`Delete ${name}?`}
      size="lg"
      centered
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <Stack gap="sm">
        <Text size="sm">
          {rules === 0
            ? "No rule names it."
            : `${plural(rules, "rule names", "rules name")} it. It is taken out of them, and a rule that has nothing else on that side is deleted, since without a name the side would mean anybody:`}
        </Text>
        {preview.isPending && <Loader size="sm" aria-label="Loading" />}
        {preview.data !== undefined && rules > 0 && <Outcome outcome={preview.data} />}
        <TextInput
          label="Reason"
          description="For the history"
          value={reason}
          maxLength={500}
          onChange={(event) => setReason(event.currentTarget.value)}
        />
        {failure !== null && (
          <Refusal
            error={failure}
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
            disabled={preview.data === undefined}
            onClick={() => change.mutate({ ...wanted, reason })}
          >
            {rules === 0 ? "Delete" : "Delete, and change the rules"}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
