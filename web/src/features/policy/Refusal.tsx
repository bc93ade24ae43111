import { Alert, Button, Group, Stack, Text } from "@mantine/core";
import { IconAlertCircle, IconUsers } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { formatAgo } from "../../radar/format";
import { isConflict, readNewer } from "./change";
import classes from "./Policy.module.css";
import { madeBy } from "./words";

interface Props {
  error: Error;
  /** The version that the refused change was made of. */
  version: number;
  /** Goes on with the newest version; what was typed stays. */
  onReload?: (() => void) | undefined;
}

/** Why a change was refused. Where somebody else was faster it says who, and offers to go on. */
export function Refusal({ error, version, onReload }: Props) {
  if (isConflict(error)) return <Meanwhile version={version} onReload={onReload} />;
  return (
    <Alert
      color="red"
      variant="light"
      role="alert"
      icon={<IconAlertCircle size={18} />}
      data-testid="refusal"
    >
      <pre className={classes.refusal}>{error.message}</pre>
    </Alert>
  );
}

function Meanwhile({ version, onReload }: Omit<Props, "error">) {
  const { data } = useQuery({
    queryKey: ["policy-newer", version],
    queryFn: () => readNewer(version),
    staleTime: 0,
  });
  return (
    <Alert
      color="orange"
      variant="light"
      role="alert"
      icon={<IconUsers size={18} />}
      title="The policy was changed meanwhile"
      data-testid="conflict"
    >
      <Stack gap={6}>
        {data?.map((one) => (
          <Text size="sm" key={one.version}>
            <strong>{one.author}</strong> made version {one.version} {formatAgo(one.at, Date.now())}
            : {madeBy(one)}
            {one.reason !== "" && ` (${one.reason})`}
          </Text>
        ))}
        <Text size="sm">Nothing of yours was changed in the policy.</Text>
        {onReload !== undefined && (
          <Group>
            <Button size="xs" variant="default" onClick={onReload}>
              Reload, and keep what I wrote
            </Button>
          </Group>
        )}
      </Stack>
    </Alert>
  );
}
