import { Badge, Button, Center, Loader, Text, Title } from "@mantine/core";
import { IconPlus, IconServerOff, IconTrash } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import type { Defender } from "../../api/types";
import { useNow } from "../../components/useNow";
import { formatTime, plural } from "../../radar/format";
import { enforcedBy } from "../policy/enforced";
import { headQuery } from "../policy/query";
import { sessionQuery } from "../session/session";
import classes from "./DefendersPage.module.css";
import { certificateOf, keptOf, modeOf, stateOf } from "./describe";
import { JoinDialog } from "./JoinDialog";
import { defendersQuery } from "./query";
import { RemoveDialog } from "./RemoveDialog";

/** Manage, Defenders: who has joined, how each is, and how one joins or is removed. */
export function DefendersPage() {
  const { data, error } = useQuery(defendersQuery);
  const { data: session } = useQuery(sessionQuery);
  const [joining, setJoining] = useState(false);
  const [removing, setRemoving] = useState<Defender | null>(null);
  const admin = session?.role === "admin";

  useEffect(() => {
    document.title = "Defenders · cnnf";
  }, []);

  return (
    <div className={classes.page}>
      <header className={classes.bar}>
        <nav aria-label="Breadcrumb" className={classes.crumbs}>
          <span>Manage</span>
          <span aria-hidden>/</span>
          <Title order={1} className={classes.title} aria-current="page">
            Defenders
          </Title>
        </nav>
        {data !== undefined && (
          <Text size="sm" c="dimmed">
            {data.filter((one) => one.live).length} of {plural(data.length, "Defender")} live
          </Text>
        )}
        {admin && (
          <Button
            className={classes.end}
            size="sm"
            leftSection={<IconPlus size={16} stroke={1.9} aria-hidden />}
            onClick={() => setJoining(true)}
          >
            Let a host join
          </Button>
        )}
      </header>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: the keyboard scrolls it */}
      <section className={classes.body} aria-label="List of Defenders" tabIndex={0}>
        {data === undefined ? (
          error === null ? (
            <Center h="100%">
              <Loader aria-label="Loading" />
            </Center>
          ) : (
            <Nothing
              title="The Defenders cannot be loaded"
              text={`${error.message} Trying again.`}
            />
          )
        ) : data.length === 0 ? (
          <Nothing
            title="No Defender has joined"
            text="cnnf up starts one on this machine. Other hosts join with a token that is good once."
          />
        ) : (
          <DefenderTable defenders={data} onRemove={admin ? setRemoving : undefined} />
        )}
      </section>
      {joining && <JoinDialog onClose={() => setJoining(false)} />}
      {removing !== null && <RemoveDialog defender={removing} onClose={() => setRemoving(null)} />}
    </div>
  );
}

function Nothing({ title, text }: { title: string; text: string }) {
  return (
    <div className={classes.nothing}>
      <IconServerOff size={48} stroke={1.2} aria-hidden />
      <Title order={2} size="h3">
        {title}
      </Title>
      <Text c="dimmed" ta="center" maw={460}>
        {text}
      </Text>
    </div>
  );
}

const HEADINGS = [
  "Host",
  "State",
  "Mode applied",
  "Policy",
  "Version",
  "Certificate until",
  "Conditions",
];

function DefenderTable({
  defenders,
  onRemove,
}: {
  defenders: Defender[];
  onRemove: ((defender: Defender) => void) | undefined;
}) {
  const now = useNow(5_000);
  const { data: head } = useQuery(headQuery);
  return (
    <table className={classes.table} data-testid="defenders">
      <thead>
        <tr>
          {HEADINGS.map((heading) => (
            <th scope="col" key={heading}>
              {heading}
            </th>
          ))}
          {onRemove !== undefined && (
            <th scope="col">
              <span className="visually-hidden">Actions</span>
            </th>
          )}
        </tr>
      </thead>
      <tbody>
        {defenders.map((defender) => (
          <DefenderRow
            key={defender.id}
            defender={defender}
            inForce={head?.version}
            now={now}
            onRemove={onRemove}
          />
        ))}
      </tbody>
    </table>
  );
}

function PolicyCell({ defender, inForce }: { defender: Defender; inForce: number | undefined }) {
  const { state, text, why } = enforcedBy(defender, inForce);
  return (
    <>
      {text}
      {state === "behind" && <div className={classes.dim}>version {inForce} is in force</div>}
      {why !== "" && <div className={classes.warn}>{why}</div>}
    </>
  );
}

function DefenderRow({
  defender,
  inForce,
  now,
  onRemove,
}: {
  defender: Defender;
  inForce: number | undefined;
  now: number;
  onRemove: ((defender: Defender) => void) | undefined;
}) {
  const state = stateOf(defender, now);
  const certificate = certificateOf(defender, now);
  const kept = keptOf(defender);
  return (
    <tr data-defender={defender.id}>
      <td>
        <div className={classes.name}>{defender.name}</div>
        <div className={classes.dim} title={defender.addresses.join(", ")}>
          {defender.addresses.slice(0, 3).join(", ")}
          {defender.addresses.length > 3 && ` and ${defender.addresses.length - 3} more`}
        </div>
        <div className={classes.id} title={`Joined ${formatTime(defender.enrolled_at, now)}`}>
          {defender.id}
        </div>
      </td>
      <td>
        <Badge size="sm" variant="light" color={state.live ? "teal" : "orange"} tt="none">
          {state.word}
        </Badge>
        {kept !== "" && <div className={classes.dim}>{kept}</div>}
      </td>
      <td>
        {modeOf(defender)}
        {defender.applied !== null && (
          <div className={classes.dim}>settings {defender.applied.generation}</div>
        )}
      </td>
      <td className={classes.policy}>
        <PolicyCell defender={defender} inForce={inForce} />
      </td>
      <td>
        {defender.version}
        <div className={classes.dim}>
          {[defender.system, defender.kernel && `Linux ${defender.kernel}`]
            .filter(Boolean)
            .join(" · ")}
        </div>
      </td>
      <td className={classes.day}>
        {certificate.day}
        {certificate.state !== "good" && (
          <div className={classes.warn}>
            {certificate.state === "expired" ? "expired: join again" : "not renewed yet"}
          </div>
        )}
      </td>
      <td className={classes.conditions}>
        {defender.conditions.length === 0 && <span className={classes.dim}>none</span>}
        {defender.conditions.map((condition) => (
          <div key={condition.code} data-severity={condition.severity}>
            <strong>{condition.severity}</strong> {condition.message}
          </div>
        ))}
      </td>
      {onRemove !== undefined && (
        <td className={classes.actions}>
          <Button
            size="compact-sm"
            variant="subtle"
            color="red"
            leftSection={<IconTrash size={15} stroke={1.7} aria-hidden />}
            aria-label={`Remove ${defender.name}`}
            onClick={() => onRemove(defender)}
          >
            Remove
          </Button>
        </td>
      )}
    </tr>
  );
}
