import {
  Alert,
  Button,
  FileButton,
  Group,
  SegmentedControl,
  Stack,
  Text,
  Textarea,
  TextInput,
  Title,
} from "@mantine/core";
import { IconDownload, IconFileUpload } from "@tabler/icons-react";
import { useState } from "react";
import type { PolicyChanged } from "../../api/types";
import { formatNumber } from "../../radar/format";
import { useChange, useNewest, type Wanted } from "./change";
import { download } from "./download";
import { Outcome } from "./Outcome";
import classes from "./Policy.module.css";
import { Refusal } from "./Refusal";
import { usePolicy } from "./usePolicy";
import { WhatIfPanel } from "./WhatIfPanel";

type Mode = "merge" | "replace";

/** As much as the Console takes of a policy. */
const FILE_BYTES_MAX = 16 * 1024 * 1024;
/** A larger text is kept, but not put into a field that would have to lay it out. */
const EDITED_CHARS_MAX = 200_000;

const MODES: Record<Mode, string> = {
  merge:
    "What the file has is added, or replaces what has the same name where it stands. All else stays.",
  replace: "The policy is what the file says. What the file does not have goes.",
};

/** The policy as a file: taken in after a look at what it changes, and given out. */
export function TransferTab() {
  const { policy, mayChange } = usePolicy();
  return (
    <section className={classes.body} aria-label="Import and export">
      <div className={classes.sheet}>
        <div>
          <Title order={2} className={classes.heading}>
            Export
          </Title>
          <Text size="sm" c="dimmed" mb="sm">
            The policy in force in the form that <code>cnnf policy apply</code> and the import below
            read.
          </Text>
          <Button
            variant="default"
            leftSection={<IconDownload size={16} aria-hidden />}
            disabled={policy === undefined}
            onClick={() => policy !== undefined && void download("/policy", policy.version)}
          >
            Download{policy === undefined ? "" : ` version ${formatNumber(policy.version)}`}
          </Button>
        </div>
        <div>
          <Title order={2} className={classes.heading}>
            Import
          </Title>
          {mayChange && policy !== undefined ? (
            <Import version={policy.version} />
          ) : (
            <Text size="sm" c="dimmed">
              Your role can look, but not change this.
            </Text>
          )}
        </div>
      </div>
    </section>
  );
}

function Import({ version }: { version: number }) {
  const [text, setText] = useState("");
  const [file, setFile] = useState("");
  const [mode, setMode] = useState<Mode>("merge");
  const [reason, setReason] = useState("");
  const [refused, setRefused] = useState("");
  const [previewed, setPreviewed] = useState<{ outcome: PolicyChanged; base: number } | null>(null);
  const [done, setDone] = useState<number | null>(null);
  const newest = useNewest();
  const preview = useChange();
  const apply = useChange((outcome) => {
    setDone(outcome.version);
    setPreviewed(null);
    setText("");
    setFile("");
    setReason("");
  });
  const changed = () => {
    setPreviewed(null);
    setDone(null);
    setRefused("");
    preview.reset();
    apply.reset();
  };
  const wanted = (base: number): Wanted => ({
    method: "PUT",
    path: "/policy",
    query: { mode },
    yaml: text,
    version: base,
  });
  const look = (base: number) =>
    preview.mutate(
      { ...wanted(base), preview: true },
      { onSuccess: (outcome) => setPreviewed({ outcome, base }) },
    );
  const take = async (chosen: File | null) => {
    if (chosen === null) return;
    changed();
    if (chosen.size > FILE_BYTES_MAX) {
      setRefused(
        `${chosen.name} has ${formatNumber(chosen.size)} bytes: the Console takes 16 MiB.`,
      );
      return;
    }
    setText(await chosen.text());
    setFile(chosen.name);
  };
  const large = text.length > EDITED_CHARS_MAX;
  const base = previewed?.base ?? version;
  const failure = apply.error ?? preview.error;
  const nothing = previewed !== null && previewed.outcome.changes.length === 0;
  return (
    <Stack gap="md">
      <Text size="sm" c="dimmed">
        A policy in its YAML form. What it changes is shown first; nothing is in force until you
        apply it. Kubernetes NetworkPolicies become that form with{" "}
        <code>cnnf policy import --format kubernetes</code>.
      </Text>
      <Group gap="sm">
        <FileButton
          onChange={(chosen) => void take(chosen)}
          accept=".yaml,.yml,.json,application/yaml"
          inputProps={{ "aria-label": "Policy file" }}
        >
          {(props) => (
            <Button
              {...props}
              variant="default"
              leftSection={<IconFileUpload size={16} aria-hidden />}
            >
              Choose a file
            </Button>
          )}
        </FileButton>
        <Text size="sm" c="dimmed">
          {file === "" ? "or write it here" : file}
        </Text>
      </Group>
      {refused !== "" && (
        <Alert color="red" variant="light" role="alert">
          {refused}
        </Alert>
      )}
      {large ? (
        <Text size="sm">
          {file || "The text"} has {formatNumber(text.length)} characters.{" "}
          <Button size="compact-xs" variant="default" onClick={() => setText("")}>
            Take it out
          </Button>
        </Text>
      ) : (
        <Textarea
          label="Policy"
          placeholder={PLACEHOLDER}
          autosize
          minRows={8}
          maxRows={20}
          spellCheck={false}
          styles={{ input: { fontFamily: "var(--mantine-font-family-monospace)", fontSize: 12.5 } }}
          value={text}
          onChange={(event) => {
            changed();
            setText(event.currentTarget.value);
          }}
        />
      )}
      <div>
        <SegmentedControl
          aria-label="What becomes of the policy in force"
          value={mode}
          onChange={(value) => {
            changed();
            setMode(value as Mode);
          }}
          data={[
            { value: "merge", label: "Merge" },
            { value: "replace", label: "Replace" },
          ]}
        />
        <Text size="xs" c="dimmed" mt={4}>
          {MODES[mode]}
        </Text>
      </div>
      <Group>
        <Button
          variant={previewed === null ? "filled" : "default"}
          loading={preview.isPending}
          disabled={text.trim() === ""}
          onClick={() => look(version)}
        >
          Preview
        </Button>
      </Group>
      {failure !== null && (
        <Refusal
          error={failure}
          version={base}
          onReload={() =>
            void newest().then((policy) => {
              changed();
              look(policy.version);
            })
          }
        />
      )}
      {done !== null && (
        <Alert color="teal" variant="light" role="status">
          Version {done} is in force.
        </Alert>
      )}
      {previewed !== null && (
        <>
          <Outcome outcome={previewed.outcome} />
          {mode === "replace" && !nothing && <WhatIfPanel draft={() => text} />}
          {!nothing && (
            <Group align="end">
              <TextInput
                label="Reason"
                description="For the history"
                value={reason}
                maxLength={500}
                flex={1}
                onChange={(event) => setReason(event.currentTarget.value)}
              />
              <Button
                loading={apply.isPending}
                onClick={() => apply.mutate({ ...wanted(base), reason })}
              >
                Apply
              </Button>
            </Group>
          )}
        </>
      )}
    </Stack>
  );
}

const PLACEHOLDER = `apiVersion: cnnf/v1
networkObjects:
  - {name: office, type: subnet, values: [10.0.0.0/8]}
rules:
  containers:
    - {name: office only, source: [office], ports: [443], effect: allow}
  hosts: []`;
