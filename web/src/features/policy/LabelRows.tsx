import { ActionIcon, Button, Group, Input, Select, TagsInput, TextInput } from "@mantine/core";
import { IconPlus, IconX } from "@tabler/icons-react";
import { LABEL_OPERATORS, type LabelOperator, type LabelRow } from "./object-draft";

interface Props {
  rows: LabelRow[];
  readOnly: boolean;
  error: string | undefined;
  onChange: (rows: LabelRow[]) => void;
}

/** Tests of labels, one a line. */
export function LabelRows({ rows, readOnly, error, onChange }: Props) {
  const put = (at: number, part: Partial<LabelRow>) =>
    onChange(rows.map((row, index) => (index === at ? { ...row, ...part } : row)));
  return (
    <Input.Wrapper label="Labels" labelElement="div" error={error}>
      {rows.map((row, at) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a line is known by its place only
        <Group key={at} gap="xs" align="flex-start" wrap="nowrap" mt={6}>
          <TextInput
            aria-label={`Label ${at + 1}: key`}
            placeholder="key"
            w={130}
            value={row.key}
            disabled={readOnly}
            onChange={(event) => put(at, { key: event.currentTarget.value })}
          />
          <Select
            aria-label={`Label ${at + 1}: test`}
            w={140}
            allowDeselect={false}
            value={row.operator}
            disabled={readOnly}
            data={[...LABEL_OPERATORS]}
            onChange={(operator) => put(at, { operator: operator as LabelOperator })}
          />
          {row.operator === "in" || row.operator === "not in" ? (
            <TagsInput
              aria-label={`Label ${at + 1}: values`}
              placeholder={row.values.length === 0 ? "values" : ""}
              flex={1}
              value={row.values}
              disabled={readOnly}
              onChange={(values) => put(at, { values })}
            />
          ) : (
            <div style={{ flex: 1 }} />
          )}
          {!readOnly && (
            <ActionIcon
              variant="subtle"
              color="gray"
              size="lg"
              aria-label={`Remove label ${at + 1}`}
              onClick={() => onChange(rows.filter((_, index) => index !== at))}
            >
              <IconX size={16} />
            </ActionIcon>
          )}
        </Group>
      ))}
      {!readOnly && (
        <Button
          mt={8}
          size="compact-sm"
          variant="default"
          leftSection={<IconPlus size={14} aria-hidden />}
          onClick={() => onChange([...rows, { key: "", operator: "in", values: [] }])}
        >
          Add a label
        </Button>
      )}
    </Input.Wrapper>
  );
}
