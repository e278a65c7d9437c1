/** The data of `/readyz`. `degraded` names parts that fail while cached content is still served. */
export interface Health {
  readonly isStopping: boolean;
  readonly degraded: readonly string[];
  /** Reasons by the names in `degraded`, where a name does not say enough. */
  readonly reasons?: Readonly<Record<string, string>> | undefined;
}

/** The response of `/readyz`: 503 while the server stops, else 200. */
export function readiness(health: Health): { readonly status: 200 | 503; readonly body: object } {
  if (health.isStopping) return { status: 503, body: { status: 'stopping' } };
  const { degraded, reasons } = health;
  if (degraded.length > 0) {
    return { status: 200, body: { status: 'degraded', degraded, ...(reasons && { reasons }) } };
  }
  return { status: 200, body: { status: 'ready' } };
}

export const ALIVE = { status: 'alive' } as const;
