import { Input, SegmentedControl } from "@mantine/core";
import { useId } from "react";

interface Props {
  label: string;
  value: string;
  data: (string | { value: string; label: string })[];
  disabled: boolean;
  description?: string;
  /** The description stands above the control, as fields have it. */
  above?: boolean;
  onChange: (value: string) => void;
}

/** A choice of few, with a label as fields have one. */
export function Labelled({ label, value, data, disabled, description, above, onChange }: Props) {
  const id = useId();
  return (
    <Input.Wrapper
      label={label}
      labelElement="div"
      labelProps={{ id }}
      description={description}
      inputWrapperOrder={
        above ? ["label", "description", "input"] : ["label", "input", "description"]
      }
    >
      <SegmentedControl
        aria-labelledby={id}
        fullWidth
        size="sm"
        my={4}
        value={value}
        disabled={disabled}
        data={data}
        onChange={onChange}
      />
    </Input.Wrapper>
  );
}
