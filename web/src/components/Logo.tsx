/** The product's sign: two connections that meet. */
export function Logo({ size = 32 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" fill="#2563eb" />
      <g fill="none" stroke="#fff" strokeWidth="2.4" strokeLinecap="round">
        <path d="M10 10.5C16 10.5 16 16 22 16M10 21.5C16 21.5 16 16 22 16" />
      </g>
      <g fill="#fff">
        <circle cx="9" cy="10.5" r="3" />
        <circle cx="9" cy="21.5" r="3" />
        <circle cx="23" cy="16" r="3.6" />
      </g>
    </svg>
  );
}
