import { Button, Group, Modal, NumberInput, Stack } from "@mantine/core";
import { useState } from "react";

interface Props {
  name: string;
  from: number;
  count: number;
  onMove: (from: number, to: number) => void;
  onClose: () => void;
}

/** Moves a rule far: to a position of the whole list. */
export function MoveDialog({ name, from, count, onMove, onClose }: Props) {
  const [to, setTo] = useState<number | string>(from + 1);
  const wanted = Number(to);
  const fits = Number.isInteger(wanted) && wanted >= 1 && wanted <= count;
  return (
    <Modal
      opened
      onClose={onClose}
      title={`Move ${name}`}
      centered
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (!fits) return;
          onMove(from, wanted - 1);
          onClose();
        }}
      >
        <Stack>
          <NumberInput
            label="Position"
            description={`1 is decided first, ${count} last.`}
            min={1}
            max={count}
            value={to}
            onChange={setTo}
            data-autofocus
          />
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" disabled={!fits}>
              Move
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
