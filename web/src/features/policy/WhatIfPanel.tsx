import type { PolicyDocument } from "./draft";

export function WhatIfPanel(_: { draft: () => PolicyDocument | string }) {
  return null;
}
