import { CloseButton, ScrollArea, Title } from "@mantine/core";
import { type ReactNode, useEffect, useRef } from "react";
import classes from "./Panel.module.css";

interface Props {
  /** Changes when the panel is about something else, which takes the focus to its heading. */
  subject: string;
  label: string;
  icon: ReactNode;
  title: string;
  subtitle: ReactNode;
  onClose: () => void;
  children: ReactNode;
}

/** The side panel's frame. Escape closes it. */
export function Panel({ subject, label, icon, title, subtitle, onClose, children }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new subject is the event
  useEffect(() => {
    heading.current?.focus({ preventScroll: true });
  }, [subject]);
  return (
    <aside
      className={classes.panel}
      aria-label={label}
      data-testid="panel"
      onKeyDown={(event) => {
        // Not one that was meant for a dialog which was opened from here.
        const own = event.currentTarget.contains(event.target as Node);
        if (event.key === "Escape" && own) onClose();
      }}
    >
      <header className={classes.head}>
        <span className={classes.icon}>{icon}</span>
        <div className={classes.names}>
          <Title order={2} className={classes.title} ref={heading} tabIndex={-1}>
            {title}
          </Title>
          <div className={classes.subtitle}>{subtitle}</div>
        </div>
        <CloseButton aria-label="Close the panel" onClick={onClose} />
      </header>
      <ScrollArea
        className={classes.scroll}
        type="auto"
        viewportProps={{ tabIndex: 0, "aria-label": "Details", role: "region" }}
      >
        <div className={classes.content}>{children}</div>
      </ScrollArea>
    </aside>
  );
}

/** A named part of a panel. */
export function Section(props: { title: string; count?: number; children: ReactNode }) {
  return (
    <section className={classes.section}>
      <Title order={3} className={classes.sectionTitle}>
        {props.title}
        {props.count !== undefined && <span className={classes.count}>{props.count}</span>}
      </Title>
      {props.children}
    </section>
  );
}
