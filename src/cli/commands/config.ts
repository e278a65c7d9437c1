import type { Flags } from '../../config/flags.ts';
import type { LoadedSettings } from '../../config/load.ts';
import type { ShownSetting } from '../../config/shown.ts';
import { formatSource } from '../../config/sources.ts';
import type { ExitCode } from '../exit.ts';
import { print, printAside } from '../print.ts';

/** A longer value does not widen the column for all rows. */
const MAX_COLUMN_WIDTH = 48;

/** Prints the settings in force. */
export function config(loaded: LoadedSettings, flags: Flags): Promise<ExitCode> {
  for (const warning of loaded.warnings) printAside(`warning: ${warning}\n`);
  print(flags['json'] === true ? configJson(loaded.sources) : configText(loaded.sources));
  return Promise.resolve(0);
}

/** The text of `pierhead config`: one row for each setting. `sources` has no secrets. */
export function configText(sources: readonly ShownSetting[]): string {
  const rows = sources.map(({ key, value, source }) => ({
    key,
    value: valueText(value),
    source: formatSource(source),
  }));
  const keyWidth = Math.max(...rows.map((row) => row.key.length));
  const valueWidth = Math.max(
    ...rows.map((row) => row.value.length).filter((width) => width <= MAX_COLUMN_WIDTH),
  );
  return rows
    .map(({ key, value, source }) => `${key.padEnd(keyWidth)}  ${value.padEnd(valueWidth)}  ${source}\n`)
    .join('');
}

/** The text of `pierhead config --json`: `{ "<key>": { "value": …, "source": "…" } }`, with null for unset values. */
export function configJson(sources: readonly ShownSetting[]): string {
  const entries = sources.map(({ key, value, source }) => [
    key,
    { value: value ?? null, source: formatSource(source) },
  ]);
  return `${JSON.stringify(Object.fromEntries(entries), undefined, 2)}\n`;
}

function valueText(value: ShownSetting['value']): string {
  if (value === undefined) return 'none';
  const text = typeof value === 'string' ? value : value.join(', ');
  return text === '' ? '(empty)' : text;
}
