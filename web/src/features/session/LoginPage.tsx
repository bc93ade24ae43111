import { Alert, Button, PasswordInput, Stack, Text, TextInput, Title } from "@mantine/core";
import { IconAlertCircle } from "@tabler/icons-react";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useRouter, useSearch } from "@tanstack/react-router";
import { type FormEvent, useEffect } from "react";
import { Logo } from "../../components/Logo";
import classes from "./LoginPage.module.css";
import { startSession } from "./session";

export function LoginPage() {
  const router = useRouter();
  const queries = useQueryClient();
  const { to } = useSearch({ from: "/login" });
  useEffect(() => {
    document.title = "Log in · cnnf";
  }, []);
  const login = useMutation({
    mutationFn: startSession,
    onSuccess: () => {
      queries.clear();
      router.history.push(to ?? "/");
    },
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    login.mutate({
      username: String(form.get("username")).trim(),
      password: String(form.get("password")),
    });
  };
  return (
    <main className={classes.page}>
      <form className={classes.card} onSubmit={submit}>
        <Stack gap="md">
          <Logo size={40} />
          <div>
            <Title order={1} size="h3">
              Log in to cnnf
            </Title>
            <Text size="sm" c="dimmed" mt={4}>
              See and control what connects to what.
            </Text>
          </div>
          {login.isError && (
            <Alert color="red" icon={<IconAlertCircle size={18} />} role="alert" variant="light">
              {login.error.message}
            </Alert>
          )}
          <TextInput
            label="User"
            name="username"
            autoComplete="username"
            required
            withAsterisk={false}
            data-autofocus
            autoFocus
          />
          <PasswordInput
            label="Password"
            name="password"
            autoComplete="current-password"
            required
            withAsterisk={false}
          />
          <Button type="submit" loading={login.isPending} fullWidth mt={4}>
            Log in
          </Button>
          <Text size="xs" c="dimmed">
            The first start of <code>cnnf up</code> shows the administrator's password once.
          </Text>
        </Stack>
      </form>
    </main>
  );
}
