import { Button, Center, Stack, Text, Title } from "@mantine/core";
import { queryClient } from "./query";

/** What is shown when a page cannot be: what went wrong, and a way to go on. */
export function Failure({ error }: { error: unknown }) {
  const again = () => {
    queryClient.clear();
    window.location.assign("/");
  };
  return (
    <Center h="100%" p="xl" component="main">
      <Stack align="center" maw={460} gap="sm">
        <Title order={1} size="h3">
          This page cannot be shown
        </Title>
        <Text c="dimmed" ta="center">
          {error instanceof Error ? error.message : String(error)}
        </Text>
        <Button onClick={again}>Try again</Button>
      </Stack>
    </Center>
  );
}
