import { Title } from "@mantine/core";
import { IconAlertTriangle, IconInfoCircle } from "@tabler/icons-react";
import type { Finding, PolicyChanged, PolicyDifference } from "../../api/types";
import { formatNumber, plural } from "../../radar/format";
import classes from "./Policy.module.css";
import { differenceText, isGrave } from "./words";

interface Props {
  outcome: PolicyChanged;
  /** Only what was found about this rule or object is written out; of the others the number. */
  about?: string;
}

/** What a change does, or would: the differences, what was found on the way, and notes. */
export function Outcome({ outcome, about }: Props) {
  const { changes, more_changes, notes } = outcome;
  const findings = outcome.findings.filter(
    ({ name, because }) => about === undefined || name === about || because === about,
  );
  const more_findings = outcome.more_findings + outcome.findings.length - findings.length;
  return (
    <div className={classes.outcome} data-testid="outcome" role="status">
      <Title order={3}>
        {changes.length === 0 ? "Nothing changes" : plural(changes.length + more_changes, "change")}
      </Title>
      <Differences changes={changes} more={more_changes} />
      {notes.map((note) => (
        <div className={classes.finding} data-grave="true" key={note}>
          <IconInfoCircle size={15} stroke={1.8} aria-hidden />
          <span>{note}</span>
        </div>
      ))}
      {findings.length + more_findings > 0 && (
        <>
          <Title order={3}>
            {about !== undefined && findings.length === 0
              ? "Nothing was found about it"
              : `To look at: ${formatNumber(findings.length + (about === undefined ? more_findings : 0))}`}
          </Title>
          <div className={classes.differences}>
            {findings.map((one) => (
              <FindingLine
                key={`${one.list} ${one.name} ${one.kind} ${one.message}`}
                finding={one}
                named
              />
            ))}
          </div>
          {more_findings > 0 && (
            <div className={classes.dim}>
              and {formatNumber(more_findings)} more
              {about !== undefined && " elsewhere in the policy"}
            </div>
          )}
        </>
      )}
    </div>
  );
}

const SIGNS: Record<PolicyDifference["kind"], string> = {
  added: "+",
  removed: "−",
  changed: "~",
  moved: "↕",
};

/** What differs, line by line. */
export function Differences({ changes, more }: { changes: PolicyDifference[]; more: number }) {
  return (
    <>
      {changes.length > 0 && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: the keyboard scrolls it
        <ul className={classes.differences} tabIndex={0} aria-label="Differences">
          {changes.map((change) => (
            <li
              className={classes.difference}
              data-kind={change.kind}
              key={`${change.kind} ${change.list} ${change.name}`}
            >
              <span className={classes.sign} aria-hidden>
                {SIGNS[change.kind]}
              </span>
              {differenceText(change)}
            </li>
          ))}
        </ul>
      )}
      {more > 0 && <div className={classes.dim}>and {formatNumber(more)} more</div>}
    </>
  );
}

interface FindingProps {
  finding: Finding;
  /** Says of whom it is; elsewhere it stands with the rule or object. */
  named?: boolean;
  /** Where given, the cause is a way to it. */
  onCause?: (name: string) => void;
}

export function FindingLine({ finding, named = false, onCause }: FindingProps) {
  const grave = isGrave(finding);
  const Icon = grave ? IconAlertTriangle : IconInfoCircle;
  return (
    <div className={classes.finding} data-grave={grave} data-finding={finding.kind}>
      <Icon size={14} stroke={1.8} aria-hidden />
      <span>
        {named && <strong>{finding.name}: </strong>}
        {finding.message}
        {onCause !== undefined && finding.because !== "" && (
          <>
            {" · "}
            <button type="button" className={classes.link} onClick={() => onCause(finding.because)}>
              show {finding.because}
            </button>
          </>
        )}
      </span>
    </div>
  );
}
