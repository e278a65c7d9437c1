import type { Outcome, Upstream } from '../upstream.ts';

/** An upstream that is never asked (setting `offline`). */
export function createOfflineUpstream(options: {
  readonly host: string;
  readonly hasCredentials: boolean;
}): Upstream {
  const { host, hasCredentials } = options;
  const reason = `${host} is not asked, because this server is offline (setting offline)`;
  const answer = (): Promise<Outcome<never>> =>
    Promise.resolve({ kind: 'unavailable', cause: 'offline', reason });
  return {
    host,
    hasCredentials,
    headManifest: answer,
    confirmManifest: answer,
    getManifest: answer,
    headBlob: answer,
    getBlob: answer,
    listTags: answer,
    listReferrers: answer,
    isReachable: () => false,
    outage: () => reason,
    isSlow: () => false,
    reportSlow: () => undefined,
    shortage: () => undefined,
    allowance: () => undefined,
    mayPrefetch: () => false,
    close: () => Promise.resolve(),
  };
}
