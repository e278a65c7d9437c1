import { limitAt } from '../config/bandwidth.ts';
import { usesCredentials } from '../config/credentials.ts';
import type { Settings, UpstreamSettings } from '../config/settings.ts';
import type { Tell } from '../events/events.ts';
import type { UpstreamState } from '../metrics/upstream.ts';
import type { SharedPullLimits } from '../oci/pull-limit.ts';
import { CredentialHelper } from '../upstream/auth/credential-helper.ts';
import { mayHaveCredentials } from '../upstream/auth/credential-hosts.ts';
import { DockerConfig } from '../upstream/auth/docker-config.ts';
import { type Credentials, dockerServer } from '../upstream/auth/logins.ts';
import { Bandwidth } from '../upstream/limits/bandwidth.ts';
import { createUpstream, type UpstreamOptions } from '../upstream/registry/client.ts';
import { createFallbackUpstream } from '../upstream/sources/fallback.ts';
import { createOfflineUpstream } from '../upstream/sources/offline.ts';
import type { Upstream } from '../upstream/upstream.ts';

interface UpstreamsOptions {
  readonly settings: Settings;
  readonly version: string;
  readonly tell: Tell;
  /** Undefined: there is no fleet. */
  readonly sharedPullLimits: SharedPullLimits | undefined;
}

/** The registries of the settings, by host. */
export function createUpstreams(options: UpstreamsOptions): ReadonlyMap<string, Upstream> {
  return new Map(
    Object.entries(options.settings.upstreams).map(([host, upstream]) => [
      host,
      upstreamFor(host, upstream, options),
    ]),
  );
}

export function upstreamState(upstream: Upstream, { offline }: Settings): UpstreamState {
  if (offline) return 'offline';
  if (!upstream.isReachable()) return 'down';
  return upstream.isSlow() ? 'silent' : 'up';
}

function upstreamFor(host: string, entry: UpstreamSettings, options: UpstreamsOptions): Upstream {
  if (options.settings.offline)
    return createOfflineUpstream({ host, hasCredentials: usesCredentials(entry) });
  const credentials = credentialsOf(host, entry);
  const common = commonOptions(host, entry, options);
  const { sharedPullLimits, tell } = options;
  const login = { ...(credentials === undefined ? {} : { credentials }), identities: entry.identities };
  const registry = createUpstream({
    ...common,
    ...login,
    url: entry.url,
    ...(sharedPullLimits === undefined ? {} : { sharedPullLimits }),
  });
  // A mirror reports its own pull limit, not that of the registry.
  const exceptLimits: Tell = (name, event) => {
    if (name !== 'pullLimit') tell(name, event);
  };
  const fallbacks = (entry.fallbackUrls ?? []).map((url) => {
    const isTrusted = mayHaveCredentials(new URL(entry.url), new URL(url), common.credentialHosts);
    return createUpstream({ ...common, ...(isTrusted ? login : {}), url, tell: exceptLimits });
  });
  if (fallbacks.length === 0) return registry;
  return createFallbackUpstream([registry, ...fallbacks], tell);
}

/** Options that a registry and its fallback URLs share. */
function commonOptions(host: string, entry: UpstreamSettings, { settings, version, tell }: UpstreamsOptions) {
  const { bandwidth: limits = [] } = entry;
  const bandwidth = new Bandwidth({
    limitAt: (nowMs) => limitAt(limits, nowMs),
    upstream: host,
    tell,
  });
  return {
    host,
    ...(entry.ca === undefined ? {} : { ca: entry.ca }),
    ...(limits.length === 0 ? {} : { bandwidth }),
    credentialHosts: entry.credentialHosts ?? [],
    networks: entry.internalNetworks ?? [],
    pullLimit: { lowShare: settings.pullBudgetLow, reserve: settings.pullBudgetReserve },
    connectTimeoutMs: entry.connectTimeoutMs ?? settings.connectTimeoutMs,
    headersTimeoutMs: entry.headersTimeoutMs ?? settings.headersTimeoutMs,
    idleTimeoutMs: entry.idleTimeoutMs ?? settings.idleTimeoutMs,
    userAgent: `pierhead/${version}`,
    tell,
  } satisfies Partial<UpstreamOptions>;
}

function credentialsOf(host: string, entry: UpstreamSettings): Credentials | undefined {
  const { username, password, passwordFile, token, tokenFile, credentialHelper, dockerConfig } = entry;
  const now = Date.now;
  if (credentialHelper !== undefined) {
    return { source: new CredentialHelper({ helper: credentialHelper, server: dockerServer(host), now }) };
  }
  if (dockerConfig !== undefined) return { source: new DockerConfig({ path: dockerConfig, host, now }) };
  const hasLogin = [username, token, tokenFile].some((value) => value !== undefined);
  return hasLogin ? { username, password, passwordFile, token, tokenFile } : undefined;
}
