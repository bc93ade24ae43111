import { Text, Title } from "@mantine/core";
import type { ReactNode } from "react";
import classes from "./Policy.module.css";

interface Props {
  icon: ReactNode;
  title: string;
  text: string;
  children?: ReactNode;
}

/** What stands where nothing is to be shown: why, and what to do. */
export function Nothing({ icon, title, text, children }: Props) {
  return (
    <div className={classes.nothing}>
      {icon}
      <Title order={2} size="h3">
        {title}
      </Title>
      <Text c="dimmed" ta="center" maw={480}>
        {text}
      </Text>
      {children}
    </div>
  );
}
