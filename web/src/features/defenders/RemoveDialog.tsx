import { Alert, Button, Group, Modal, Stack, Text } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { request } from "../../api/client";
import type { Defender } from "../../api/types";
import { defendersQuery } from "./query";

/** Asks once more before a Defender's certificate is revoked. */
export function RemoveDialog({ defender, onClose }: { defender: Defender; onClose: () => void }) {
  const queries = useQueryClient();
  const { mutate, error, isPending } = useMutation({
    mutationFn: () => request<undefined>("DELETE", `/defenders/${defender.id}`),
    onSuccess: async () => {
      await queries.invalidateQueries({ queryKey: defendersQuery.queryKey });
      onClose();
    },
  });
  return (
    <Modal
      opened
      onClose={onClose}
      title={`Remove ${defender.name}?`}
      centered
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <Stack gap="sm">
        <Text size="sm">
          Its certificate is good no more from that moment: what it sends is refused. What it told
          before stays.{" "}
          {defender.live && "On its host it goes on with the rules it has: stop it there first. "}
          To come back it has to join again.
        </Text>
        {error !== null && <Alert color="red">{error.message}</Alert>}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose} data-autofocus>
            Cancel
          </Button>
          <Button color="red" loading={isPending} onClick={() => mutate()}>
            Remove
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
