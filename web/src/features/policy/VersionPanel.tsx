import {
  Button,
  Group,
  Loader,
  Modal,
  NumberInput,
  SegmentedControl,
  Stack,
  Text,
  TextInput,
  Title,
} from "@mantine/core";
import { IconArrowBackUp, IconDownload } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { get, getYaml } from "../../api/client";
import type { Policy, PolicyDiff } from "../../api/types";
import { useNow } from "../../components/useNow";
import { formatNumber, formatTime, plural } from "../../radar/format";
import { sendChange, useChange, useNewest, type Wanted } from "./change";
import { download } from "./download";
import classes from "./HistoryTab.module.css";
import { Differences, Outcome } from "./Outcome";
import policyClasses from "./Policy.module.css";
import { Refusal } from "./Refusal";
import { madeBy, sizeText } from "./words";

interface Props {
  version: number;
  inForce: number;
  mayChange: boolean;
  onDone: () => void;
}

type Against = "before" | "now" | "other";

/** One version: what it changed, what it is against another, all of it, and the way back to it. */
export function VersionPanel({ version, inForce, mayChange, onDone }: Props) {
  const now = useNow(10_000);
  const [against, setAgainst] = useState<Against>(version > 1 ? "before" : "now");
  const [other, setOther] = useState<number | string>(1);
  const [back, setBack] = useState(false);
  const { data, error } = useQuery({
    queryKey: ["policy-version", version],
    queryFn: () => get<Policy>(`/policy/versions/${version}`),
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 60_000,
  });
  if (error !== null) {
    return (
      <section className={classes.side} aria-label={`Version ${version}`}>
        <div className={classes.panel}>
          <Refusal error={error} version={version} />
        </div>
      </section>
    );
  }
  const pair =
    against === "before"
      ? [version - 1, version]
      : against === "now"
        ? [version, inForce]
        : [Math.min(version, Number(other)), Math.max(version, Number(other))];
  return (
    <section className={classes.side} aria-label={`Version ${version}`} data-testid="version">
      <div className={classes.panel}>
        <div className={classes.headline}>
          <div>
            <Title order={2} size="h4">
              Version {formatNumber(version)}
            </Title>
            {data !== undefined && (
              <Text size="sm" c="dimmed">
                {data.author}, {formatTime(data.at, now)}: {madeBy(data)} · {sizeText(data)}
              </Text>
            )}
            {data !== undefined && data.reason !== "" && <Text size="sm">{data.reason}</Text>}
          </div>
          <Group gap="xs">
            <Button
              variant="default"
              size="sm"
              leftSection={<IconDownload size={16} aria-hidden />}
              onClick={() => void download(`/policy/versions/${version}`, version)}
            >
              Download
            </Button>
            {mayChange && version !== inForce && (
              <Button
                size="sm"
                leftSection={<IconArrowBackUp size={16} aria-hidden />}
                onClick={() => setBack(true)}
              >
                Go back to this
              </Button>
            )}
          </Group>
        </div>
        <Group gap="sm">
          <SegmentedControl
            aria-label="Compare"
            size="sm"
            value={against}
            onChange={(value) => setAgainst(value as Against)}
            data={[
              ...(version > 1 ? [{ value: "before", label: "What it changed" }] : []),
              { value: "now", label: "Since then" },
              { value: "other", label: "Against another" },
            ]}
          />
          {against === "other" && (
            <NumberInput
              aria-label="The other version"
              w={110}
              size="sm"
              min={1}
              max={inForce}
              clampBehavior="strict"
              allowDecimal={false}
              value={other}
              onChange={setOther}
            />
          )}
        </Group>
        <Diff old={pair[0] ?? 1} next={pair[1] ?? 1} />
        <Whole version={version} />
      </div>
      {back && (
        <RollbackDialog
          to={version}
          inForce={inForce}
          onClose={() => setBack(false)}
          onDone={onDone}
        />
      )}
    </section>
  );
}

function Diff({ old, next }: { old: number; next: number }) {
  const valid = old >= 1 && next >= 1 && Number.isInteger(old) && Number.isInteger(next);
  const { data, error } = useQuery({
    queryKey: ["policy-diff", old, next],
    queryFn: () => get<PolicyDiff>(`/policy/diff?old=${old}&new=${next}`),
    staleTime: Number.POSITIVE_INFINITY,
    enabled: valid,
  });
  if (error !== null) return <Refusal error={error} version={next} />;
  if (data === undefined) return <Loader size="sm" aria-label="Loading" />;
  return (
    <div className={policyClasses.outcome} data-testid="diff">
      <Title order={3}>
        {data.changes.length === 0
          ? `Versions ${old} and ${next} are the same`
          : `From version ${old} to ${next}: ${plural(data.changes.length + data.more_changes, "change")}`}
      </Title>
      <Differences changes={data.changes} more={data.more_changes} />
    </div>
  );
}

/** Characters of a version that are shown; all of it is in the download. */
const SHOWN_CHARS = 60_000;

function Whole({ version }: { version: number }) {
  const [open, setOpen] = useState(false);
  const { data, error } = useQuery({
    queryKey: ["policy-yaml", version],
    queryFn: () => getYaml(`/policy/versions/${version}`),
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 60_000,
    enabled: open,
  });
  return (
    <div>
      <Button
        variant="subtle"
        size="compact-sm"
        aria-expanded={open}
        onClick={() => setOpen(!open)}
        mb="xs"
      >
        {open ? "Hide all of it" : "Show all of it"}
      </Button>
      {error !== null && <Refusal error={error} version={version} />}
      {open && data !== undefined && (
        <section
          className={policyClasses.yaml}
          // biome-ignore lint/a11y/noNoninteractiveTabindex: the keyboard scrolls it
          tabIndex={0}
          aria-label={`Version ${version} as YAML`}
        >
          {data.slice(0, SHOWN_CHARS)}
          {data.length > SHOWN_CHARS && "\n… the download has the rest"}
        </section>
      )}
    </div>
  );
}

interface RollbackProps {
  to: number;
  inForce: number;
  onClose: () => void;
  onDone: () => void;
}

function RollbackDialog({ to, inForce, onClose, onDone }: RollbackProps) {
  const [reason, setReason] = useState("");
  const [base, setBase] = useState(inForce);
  const newest = useNewest();
  const change = useChange(onDone);
  const wanted: Wanted = {
    method: "POST",
    path: "/policy/rollback",
    query: { to: String(to) },
    version: base,
  };
  const preview = useQuery({
    queryKey: ["policy-preview", "rollback", to, base],
    queryFn: () => sendChange({ ...wanted, preview: true }),
    retry: false,
    gcTime: 0,
  });
  const failure = change.error ?? preview.error;
  return (
    <Modal
      opened
      onClose={onClose}
      title={`Go back to version ${to}?`}
      size="lg"
      centered
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <Stack gap="sm">
        <Text size="sm">
          What it had is put in force as a new version. Nothing of the history goes.
        </Text>
        {preview.isPending && <Loader size="sm" aria-label="Loading" />}
        {preview.data !== undefined && <Outcome outcome={preview.data} />}
        <TextInput
          label="Reason"
          description="For the history"
          value={reason}
          maxLength={500}
          data-autofocus
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
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button
            loading={change.isPending}
            disabled={preview.data === undefined || preview.data.changes.length === 0}
            onClick={() => change.mutate({ ...wanted, reason })}
          >
            Go back
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
