import { queryOptions } from "@tanstack/react-query";
import { get } from "../../api/client";
import type { Defender } from "../../api/types";

const REFRESH_MS = 10_000;

/** Every Defender, asked for again and again: their health changes without our doing. */
export const defendersQuery = queryOptions({
  queryKey: ["defenders"],
  queryFn: () => get<Defender[]>("/defenders"),
  refetchInterval: REFRESH_MS,
});
