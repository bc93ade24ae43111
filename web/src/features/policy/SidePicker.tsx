import { Group, Select, Stack, TagsInput, Text } from "@mantine/core";
import { useMemo } from "react";
import type { NetworkObject, ObjectKind, RuleList } from "../../api/types";
import { INTERNET } from "./draft";
import { sideChanged } from "./side";
import { kindsOf } from "./typed";
import { KIND_WORDS, KINDS } from "./words";

/** Options drawn at once; typing narrows them. */
const OPTIONS_MAX = 60;

interface Props {
  label: string;
  list: RuleList;
  value: readonly string[];
  /** Those of the policy. */
  objects: readonly NetworkObject[];
  /** Those that are made with the rule. */
  fresh: readonly NetworkObject[];
  disabled: boolean;
  /** What is wrong with this side. */
  error: string | undefined;
  onChange: (value: string[], fresh: NetworkObject[]) => void;
}

/** One side of a rule: objects by name, or what is typed in place, which becomes an object. */
export function SidePicker(props: Props) {
  const { label, list, value, objects, fresh, disabled, error, onChange } = props;
  const options = useMemo(
    () =>
      KINDS.map((kind) => ({
        group: KIND_WORDS[kind].many,
        items: [
          ...(kind === "subnet" ? [INTERNET] : []),
          ...objects.filter((one) => one.type === kind).map((one) => one.name),
        ],
      })).filter(({ items }) => items.length > 0),
    [objects],
  );
  const mine = fresh.filter((one) => value.includes(one.name));
  return (
    <Stack gap={6}>
      <TagsInput
        label={label}
        description="Objects by name, or type an address, app, service, host or DNS name"
        placeholder={value.length === 0 ? "any" : ""}
        data={options}
        limit={OPTIONS_MAX}
        value={[...value]}
        disabled={disabled}
        error={error}
        maxDropdownHeight={280}
        onChange={(names) => {
          const next = sideChanged(names, list, objects, fresh);
          onChange(next.names, next.fresh);
        }}
      />
      {mine.map((one) => (
        <Group gap="xs" key={one.name} wrap="nowrap">
          <Text size="xs" c="dimmed" style={{ overflowWrap: "anywhere", minWidth: 0 }}>
            New object <strong>{one.name}</strong>
            {one.values.length === 1 && one.values[0] === one.name
              ? ""
              : `: ${one.values.join(", ")}`}
          </Text>
          <Select
            aria-label={`${one.name} is`}
            size="xs"
            w={130}
            ml="auto"
            flex="none"
            allowDeselect={false}
            disabled={disabled || kindsOf(one.name).length < 2}
            value={one.type}
            data={[...new Set([one.type, ...kindsOf(one.name)])].map((kind) => ({
              value: kind,
              label: KIND_WORDS[kind].word,
            }))}
            onChange={(kind) =>
              onChange(
                [...value],
                fresh.map((other) =>
                  other.name === one.name ? { ...other, type: kind as ObjectKind } : other,
                ),
              )
            }
          />
        </Group>
      ))}
    </Stack>
  );
}
