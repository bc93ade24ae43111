import { Button, Center, Loader, SegmentedControl, TextInput } from "@mantine/core";
import { IconPlus, IconSearch, IconStack2 } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import type { ListedObject } from "../../api/types";
import { ConnectionsDrawer } from "./ConnectionsDrawer";
import { DeleteObjectDialog } from "./DeleteObjectDialog";
import { matchingObjects } from "./matching";
import { Nothing } from "./Nothing";
import { ObjectDrawer } from "./ObjectDrawer";
import { ObjectGrid } from "./ObjectGrid";
import classes from "./Policy.module.css";
import { findingsQuery, objectsQuery } from "./query";
import type { ObjectsSearch } from "./search";
import { usePolicy } from "./usePolicy";
import { findingsByName, KIND_WORDS, KINDS } from "./words";

const HOME = "/defend/firewalls/cnnf";

/** Network objects: what rules name, by kind, and where they do. */
export function ObjectsTab() {
  const { policy, mayChange } = usePolicy();
  const { data: objects, error } = useQuery(objectsQuery);
  const { data: findings } = useQuery(findingsQuery);
  const search = useSearch({ from: `/inside${HOME}/objects` });
  const navigate = useNavigate({ from: `${HOME}/objects` });
  const [editing, setEditing] = useState<{ one: ListedObject | null; version: number } | null>(
    null,
  );
  const [removing, setRemoving] = useState<ListedObject | null>(null);
  const say = (part: Partial<ObjectsSearch>) =>
    void navigate({ search: (before) => ({ ...before, ...part }), replace: true });
  const shown = useMemo(
    () => (objects === undefined ? undefined : matchingObjects(objects, search)),
    [objects, search],
  );
  const found = useMemo(() => findingsByName(findings ?? [], ""), [findings]);
  const version = policy?.version ?? 0;
  return (
    <>
      <div className={classes.tools}>
        <SegmentedControl
          aria-label="Type"
          size="sm"
          value={search.kind}
          onChange={(kind) => say({ kind: kind as ObjectsSearch["kind"] })}
          data={[
            { value: "all", label: "All" },
            ...KINDS.map((kind) => ({ value: kind, label: KIND_WORDS[kind].many })),
          ]}
        />
        <search className={classes.search}>
          <TextInput
            aria-label="Search network objects"
            placeholder="Search name or value"
            size="sm"
            value={search.q ?? ""}
            leftSection={<IconSearch size={16} stroke={1.7} aria-hidden />}
            onChange={(event) => say({ q: event.currentTarget.value || undefined })}
            onKeyDown={(event) => {
              if (event.key === "Escape") say({ q: undefined });
            }}
          />
        </search>
        {mayChange && policy !== undefined && (
          <div className={classes.end}>
            <Button
              size="sm"
              leftSection={<IconPlus size={16} stroke={1.9} aria-hidden />}
              onClick={() => setEditing({ one: null, version })}
            >
              Add object
            </Button>
          </div>
        )}
      </div>
      <section className={classes.body} aria-label="Network objects">
        {objects === undefined || shown === undefined ? (
          error === null ? (
            <Center h="100%">
              <Loader aria-label="Loading" />
            </Center>
          ) : (
            <Nothing
              icon={<IconStack2 size={48} stroke={1.2} aria-hidden />}
              title="The network objects cannot be loaded"
              text={error.message}
            />
          )
        ) : shown.length === 0 ? (
          <Nothing
            icon={<IconStack2 size={48} stroke={1.2} aria-hidden />}
            title={objects.length === 0 ? "No network objects" : "No network object matches"}
            text={
              objects.length === 0
                ? "A network object is a name for addresses, DNS names, apps, services or hosts. Rules name objects, and Radar draws connections to them. What you type into a rule becomes one by itself."
                : "Choose another type, or search for something else."
            }
          />
        ) : (
          <ObjectGrid
            objects={shown}
            findings={found}
            mayChange={mayChange}
            onOpen={(one) => setEditing({ one, version })}
            onDelete={setRemoving}
            onConnections={(one) => say({ connections: one.object.name })}
          />
        )}
      </section>
      {editing !== null && (
        <ObjectDrawer
          object={editing.one?.object ?? null}
          usedBy={editing.one?.used_by ?? []}
          version={editing.version}
          readOnly={!mayChange}
          onConnections={(name) => {
            setEditing(null);
            say({ connections: name });
          }}
          onClose={() => setEditing(null)}
          onSaved={() => setEditing(null)}
        />
      )}
      {search.connections !== undefined && (
        <ConnectionsDrawer
          key={search.connections}
          object={search.connections}
          onClose={() => say({ connections: undefined })}
        />
      )}
      {removing !== null && (
        <DeleteObjectDialog listed={removing} version={version} onClose={() => setRemoving(null)} />
      )}
    </>
  );
}
