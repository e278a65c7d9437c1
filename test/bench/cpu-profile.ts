import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** The part of V8's profile format that is read here. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const TOP_FUNCTIONS = 25;

/** Where the busy time went, by part of the program and by function, from the profile in `folder`. */
export async function summarizeProfile(folder: string): Promise<string> {
  const file = (await readdir(folder)).find((name) => name.endsWith('.cpuprofile'));
  if (file === undefined) throw new Error(`no CPU profile in ${folder}`);
  const profile = JSON.parse(await readFile(join(folder, file), 'utf8')) as CpuProfile;
  const selfMs = selfTimes(profile);
  const byFunction = new Map<string, number>();
  const byPart = new Map<string, number>();
  let busyMs = 0;
  for (const { id, callFrame } of profile.nodes) {
    const ms = selfMs.get(id) ?? 0;
    const { functionName, url, lineNumber } = callFrame;
    if (ms === 0 || functionName === '(idle)') continue;
    busyMs += ms;
    const part = partOf(url, functionName);
    add(byPart, part, ms);
    const place = url === '' ? '' : ` ${url.replace(/^.*\/(?=node_modules\/|dist\/)/, '')}:${lineNumber + 1}`;
    add(byFunction, `${functionName === '' ? '(anonymous)' : functionName}${place}`, ms);
  }
  return [
    `busy ${(busyMs / 1000).toFixed(2)} s (${file})`,
    ...rows(byPart, busyMs),
    '',
    ...rows(byFunction, busyMs).slice(0, TOP_FUNCTIONS),
  ].join('\n');
}

function selfTimes({ samples, timeDeltas }: CpuProfile): Map<number, number> {
  const selfMs = new Map<number, number>();
  for (const [index, id] of samples.entries()) add(selfMs, id, (timeDeltas[index] ?? 0) / 1000);
  return selfMs;
}

function partOf(url: string, functionName: string): string {
  if (functionName === '(garbage collector)') return 'garbage collector';
  if (url === '') return 'native code';
  if (url.startsWith('node:')) return 'Node';
  const dependency = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1];
  if (dependency !== undefined) return dependency;
  return `pierhead/${/dist\/([^/]+)/.exec(url)?.[1] ?? url}`;
}

function rows(times: ReadonlyMap<string, number>, totalMs: number): string[] {
  return [...times]
    .sort(([, a], [, b]) => b - a)
    .map(([name, ms]) => `${((ms / totalMs) * 100).toFixed(1).padStart(5)} %  ${name}`);
}

function add<K>(map: Map<K, number>, key: K, ms: number): void {
  map.set(key, (map.get(key) ?? 0) + ms);
}
