/** What `readyz` tells. `degraded` names what does not work although cached content is served. */
export interface Health {
  readonly isStopping: boolean;
  readonly degraded: readonly string[];
  /** More of those, by name, where the name does not say it. */
  readonly reasons?: Readonly<Record<string, string>> | undefined;
}

/** The answer of `readyz`: 503 once the server is stopping, 200 as long as it can serve what is cached. */
export function readiness(health: Health): { readonly status: 200 | 503; readonly body: object } {
  if (health.isStopping) return { status: 503, body: { status: 'stopping' } };
  const { degraded, reasons } = health;
  if (degraded.length > 0) {
    return { status: 200, body: { status: 'degraded', degraded, ...(reasons && { reasons }) } };
  }
  return { status: 200, body: { status: 'ready' } };
}

export const ALIVE = { status: 'alive' } as const;
