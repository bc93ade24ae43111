import type { NodeKind } from "../api/types";
import { glyphPath } from "../radar/sigma/glyphs";

/** The sign of a kind of node, the same form as on the map. */
export function KindIcon({ kind, size = 18 }: { kind: NodeKind; size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.7"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      <path d={glyphPath(kind)} />
    </svg>
  );
}
