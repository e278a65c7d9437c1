import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { environmentProxy, ProxyEnvironmentError } from '../lib/proxy-environment.ts';
import { DOCKER_HUB } from '../oci/reference.ts';
import { plainHttpWarnings } from './credentials.ts';
import { CONFIG_FLAG, fromFlags, type Flags } from './flags.ts';
import { fleetWarnings } from './redis.ts';
import type { Settings, UpstreamSettings } from './settings.ts';
import { shownSettings, type ShownSetting } from './shown.ts';
import {
  contradictions,
  overlay,
  type Effective,
  CONFIG_ENV,
  environmentWarnings,
  formatSource,
  fromDefaults,
  fromEnvironment,
  fromHosts,
  settingSlot,
  upstreamPlace,
  type Assignment,
  type Environment,
  type Source,
} from './sources.ts';
import { readFailure, SettingsError, quoted } from './units.ts';
import { validate, type NamedMap, type Values } from './values.ts';
import { readYamlFile, type FileContent } from './yaml-file.ts';

export interface LoadOptions {
  readonly flags: Flags;
  readonly env: Environment;
  /** Relative paths start here, also in the settings file. */
  readonly cwd: string;
  /** The text of the file at an absolute path; throws if it cannot be read. */
  readonly readFile?: (path: string) => string;
}

export interface LoadedSettings {
  readonly settings: Settings;
  /** Each setting with its source, for `pierhead config` and the admin API. */
  readonly sources: readonly ShownSetting[];
  /** Sentences about unknown variables, and about valid settings that are unsafe or cost requests. */
  readonly warnings: readonly string[];
}

type Read = (path: string) => string;

/**
 * The settings: defaults < settings file < environment < flags. Throws SettingsError, whose message has a line for
 * each problem.
 */
export function loadSettings(options: LoadOptions): LoadedSettings {
  const { flags, env, cwd } = options;
  const read = options.readFile ?? ((path) => readFileSync(path, 'utf8'));
  const file = settingsFile(options, read);
  const layers = [
    fromDefaults(),
    fromHosts(file.maps),
    file.assignments,
    fromEnvironment(env),
    fromFlags(flags),
  ];
  const effective = overlay(layers.map((layer) => layer.map((assignment) => located(assignment, cwd))));
  const problems = [
    ...file.problems,
    ...contradictions(effective),
    ...readFiles(effective, read),
    ...proxyProblems(env),
  ];
  const hub: NamedMap = { map: upstreamPlace(DOCKER_HUB), source: { kind: 'default' } };
  const validation = validate(effective, [...file.maps, hub]);
  if (!validation.ok) throw new SettingsError([...problems, ...validation.problems]);
  if (problems.length > 0) throw new SettingsError(problems);
  const settings = settingsOf(validation.values);
  return deepFreeze({
    settings,
    sources: shownSettings(effective),
    warnings: [...environmentWarnings(env), ...plainHttpWarnings(settings), ...fleetWarnings(settings)],
  });
}

function settingsFile({ flags, env, cwd }: LoadOptions, read: Read): FileContent {
  const flag = flags['config'];
  const named = typeof flag === 'string' ? flag : (env[CONFIG_ENV] ?? '');
  if (named === '' && flag === undefined) return { assignments: [], maps: [], problems: [] };
  const source: Source =
    flag === undefined ? { kind: 'env', name: CONFIG_ENV } : { kind: 'flag', name: CONFIG_FLAG.name };
  try {
    return readYamlFile(named, read(resolve(cwd, named)));
  } catch (error) {
    const problem = `config (${formatSource(source)}): cannot read ${quoted(named)} (${readFailure(error)}); allowed: a readable file`;
    return { assignments: [], maps: [], problems: [problem] };
  }
}

/** The assignment with its path made absolute, if it holds one. */
function located(assignment: Assignment, cwd: string): Assignment {
  const { raw, setting } = assignment;
  const isPath = setting.holds === 'file' || setting.holds === 'folder';
  return isPath && typeof raw === 'string' && raw.trim() !== ''
    ? { ...assignment, raw: resolve(cwd, raw.trim()) }
    : assignment;
}

/**
 * Reads every file that a setting names, and sets the keys whose values files hold. Returns a sentence for each file that
 * cannot be read or used. Password files of upstreams are read again at each use, since they may change.
 */
function readFiles(effective: Effective, read: Read): string[] {
  const problems: string[] = [];
  const files = [...effective.values()].filter(({ setting }) => setting.holds === 'file');
  for (const { id, raw, setting, source } of files) {
    if (typeof raw !== 'string' || raw === '') continue;
    try {
      const text = read(raw);
      const problem = setting.fileProblem?.(text);
      if (problem !== undefined) {
        problems.push(
          `${id} (${formatSource(source)}): ${quoted(raw)} ${problem}; allowed: ${setting.allowed}`,
        );
      }
      const slot = setting.holdsValueOf === undefined ? undefined : settingSlot(setting.holdsValueOf);
      if (slot !== undefined) effective.set(slot.id, { ...slot, raw: text.replace(/\r?\n$/, ''), source });
    } catch (error) {
      const what = `cannot read ${quoted(raw)} (${readFailure(error)})`;
      problems.push(`${id} (${formatSource(source)}): ${what}; allowed: ${setting.allowed}`);
    }
  }
  return problems;
}

/** Checks the proxy variables at the start. Otherwise the first pull would find the error. */
function proxyProblems(env: Environment): string[] {
  const problems: string[] = [];
  for (const scheme of ['http', 'https'] as const) {
    try {
      environmentProxy(scheme, env);
    } catch (error) {
      if (!(error instanceof ProxyEnvironmentError)) throw error;
      problems.push(error.message);
    }
  }
  return problems;
}

function settingsOf(values: Values): Settings {
  const {
    tagTtl,
    scrubInterval,
    historyAge,
    redisTimeout,
    negativeTtl,
    connectTimeout,
    headersTimeout,
    idleTimeout,
    fillSegmentGap,
    clientHeadersTimeout,
    clientIdleTimeout,
    clientStallTimeout,
    adminTokenFile: _adminTokenFile,
    fleetSecretFile: _fleetSecretFile,
    ...rest
  } = values;
  return {
    ...rest,
    upstreams: Object.assign(Object.create(null), upstreamsOf(values)) as Settings['upstreams'],
    scrubIntervalMs: scrubInterval,
    historyAgeMs: historyAge,
    tagTtlMs: tagTtl.otherwise,
    tagTtlRules: tagTtl.rules,
    redisTimeoutMs: redisTimeout,
    negativeTtlMs: negativeTtl,
    connectTimeoutMs: connectTimeout,
    headersTimeoutMs: headersTimeout,
    idleTimeoutMs: idleTimeout,
    fillSegmentGapBytes: fillSegmentGap,
    clientHeadersTimeoutMs: clientHeadersTimeout,
    clientIdleTimeoutMs: clientIdleTimeout,
    clientStallTimeoutMs: clientStallTimeout,
  };
}

function upstreamsOf(values: Values): Record<string, UpstreamSettings> {
  const entries = Object.entries(values.upstreams).map(([host, entry]): [string, UpstreamSettings] => {
    const { connectTimeout, headersTimeout, idleTimeout, ...rest } = entry;
    return [
      host,
      {
        ...rest,
        connectTimeoutMs: connectTimeout,
        headersTimeoutMs: headersTimeout,
        idleTimeoutMs: idleTimeout,
      },
    ];
  });
  return Object.fromEntries(entries);
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(deepFreeze);
  }
  return value;
}
