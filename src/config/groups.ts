import { ACCESS_SETTINGS, ACCOUNT_SETTINGS, ADMIN_SETTINGS, TLS_SETTINGS } from './access.ts';
import { CLIENT_LIMIT_SETTINGS } from './client-limits.ts';
import { DOWNLOAD_SETTINGS } from './downloads.ts';
import type { Setting } from './fields.ts';
import { FLEET_SETTINGS, REDIS_SETTINGS } from './redis.ts';
import {
  BUNDLE_SETTINGS,
  CACHE_SETTINGS,
  CLIENT_SETTINGS,
  HISTORY_SETTINGS,
  LOG_SETTINGS,
  OUTAGE_SETTINGS,
  PLATFORM_SETTINGS,
  SERVER_SETTINGS,
} from './schema.ts';
import { TAG_SETTINGS } from './tags.ts';
import { IDENTITY_SETTINGS, UPSTREAM_SETTINGS } from './upstreams.ts';

/** Settings that belong together, as the pages and the settings file show them. */
export interface SettingGroup {
  readonly title: string;
  /** Before each key: `clients[].`; empty at the top. */
  readonly prefix: '' | 'upstreams.<host>.' | 'upstreams.<host>.identities[].' | 'clients[].' | 'accounts[].';
  /** Sentences about the group as a whole. */
  readonly about?: string;
  readonly settings: Readonly<Record<string, Setting>>;
}

/** All settings, in the order in which a newcomer needs them. */
export const SETTING_GROUPS: readonly SettingGroup[] = [
  { title: 'Server', prefix: '', settings: SERVER_SETTINGS },
  { title: 'Cache', prefix: '', settings: CACHE_SETTINGS },
  {
    title: 'Upstreams',
    prefix: 'upstreams.<host>.',
    about:
      'Registries to pull from, by host. Docker Hub (`docker.io`) is always one of them; variables and flags set its keys. Other registries take the same keys. A registry at https:// and its own name needs no key. An upstream may be a url in place of a map.',
    settings: UPSTREAM_SETTINGS,
  },
  {
    title: 'Identities at an upstream',
    prefix: 'upstreams.<host>.identities[].',
    about:
      'Other credentials for some repositories of an upstream. The first item whose pattern fits counts.',
    settings: IDENTITY_SETTINGS,
  },
  { title: 'Tags', prefix: '', settings: TAG_SETTINGS },
  { title: 'Outages and the pull limit', prefix: '', settings: OUTAGE_SETTINGS },
  { title: 'Platforms and prefetching', prefix: '', settings: PLATFORM_SETTINGS },
  { title: 'Access', prefix: '', settings: ACCESS_SETTINGS },
  {
    title: 'What accounts may pull',
    prefix: 'accounts[].',
    about: 'Items for the accounts of `authListen`. The first item that names an account counts.',
    settings: ACCOUNT_SETTINGS,
  },
  {
    title: 'Rules for clients',
    prefix: 'clients[].',
    about:
      'Items for networks of clients. The first item whose network holds the address of a client counts.',
    settings: CLIENT_SETTINGS,
  },
  { title: 'TLS', prefix: '', settings: TLS_SETTINGS },
  { title: 'Limits on clients', prefix: '', settings: CLIENT_LIMIT_SETTINGS },
  { title: 'Admin address', prefix: '', settings: ADMIN_SETTINGS },
  { title: 'Bundles', prefix: '', settings: BUNDLE_SETTINGS },
  { title: 'History', prefix: '', settings: HISTORY_SETTINGS },
  { title: 'Log', prefix: '', settings: LOG_SETTINGS },
  { title: 'Redis', prefix: '', settings: { ...REDIS_SETTINGS, ...FLEET_SETTINGS } },
  { title: 'Downloads', prefix: '', settings: DOWNLOAD_SETTINGS },
];
