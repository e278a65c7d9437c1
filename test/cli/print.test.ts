import { describe, expect, it } from 'vitest';
import { exitCodeOf } from '../../src/cli/exit.ts';
import { Progress } from '../../src/cli/progress.ts';
import { table } from '../../src/cli/print.ts';
import { SettingsError } from '../../src/config/units.ts';
import { humanBytes, humanDuration } from '../../src/lib/text.ts';
import { OperationError } from '../../src/operations/protocol.ts';
import { DataDirError } from '../../src/store/data-dir.ts';

/** What is written to it, and a clock that stands still until it is moved. */
function screen(options: { readonly isTTY: boolean; readonly columns?: number }) {
  let nowMs = 0;
  const written: string[] = [];
  const output = { ...options, write: (text: string) => written.push(text) };
  return {
    written,
    progress: new Progress(output, () => nowMs),
    pass: (ms: number) => {
      nowMs += ms;
    },
  };
}

describe('progress', () => {
  it('is a bar on a terminal, drawn over itself and taken away at the end', () => {
    const { progress, written } = screen({ isTTY: true, columns: 80 });
    progress.show(0, '0 of 4');
    progress.show(0.5, '2 of 4');
    progress.show(1, '4 of 4');
    progress.clear();
    progress.clear();
    expect(written).toEqual([
      `\r[${'-'.repeat(30)}]   0 %  0 of 4\u001B[K`,
      `\r[${'#'.repeat(15)}${'-'.repeat(15)}]  50 %  2 of 4\u001B[K`,
      `\r[${'#'.repeat(30)}] 100 %  4 of 4\u001B[K`,
      '\r\u001B[K',
    ]);
  });

  it('is never wider than the terminal', () => {
    const { progress, written } = screen({ isTTY: true, columns: 40 });
    progress.show(0.5, 'so much to say that it does not fit');
    expect(written[0]).toHaveLength(39 + '\r\u001B[K'.length);
  });

  it('is a line every five seconds elsewhere', () => {
    const { progress, written, pass } = screen({ isTTY: false });
    for (let second = 0; second <= 12; second++) {
      progress.show(second / 12, `second ${second}`);
      pass(1000);
    }
    progress.clear();
    expect(written).toEqual([' 41 %  second 5\n', ' 83 %  second 10\n']);
  });
});

describe('a table', () => {
  it('is as wide as what is in it, without blanks at the end', () => {
    expect(
      table([
        ['NAME', 'SIZE', 'NOTE'],
        ['a', '12 MB', ''],
        ['long name', '', 'x'],
      ]),
    ).toBe('NAME       SIZE   NOTE\na          12 MB\nlong name         x\n');
    expect(table([])).toBe('');
  });
});

describe('figures for people', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [9_949, '9.9 kB'],
    [9_950, '10 kB'],
    [999_499, '999 kB'],
    [999_500, '1.0 MB'],
    [1_234_567_890, '1.2 GB'],
    [3.5e18, '3500 PB'],
  ])('%i bytes are %s', (bytes, text) => {
    expect(humanBytes(bytes)).toBe(text);
  });

  it.each([
    [0, '0.0 s'],
    [9949, '9.9 s'],
    [9951, '10 s'],
    [59_499, '59 s'],
    [59_500, '1 min 0 s'],
    [200_000, '3 min 20 s'],
    [7_500_000, '2 h 5 min'],
  ])('%i ms are %s', (ms, text) => {
    expect(humanDuration(ms)).toBe(text);
  });
});

describe('the exit code of a command that failed', () => {
  it.each([
    [new SettingsError(['wrong']), 2],
    [new OperationError('usage', ''), 2],
    [new OperationError('protocol', ''), 2],
    [new OperationError('busy', ''), 1],
    [new OperationError('stopped', ''), 1],
    [new DataDirError('owned', ''), 2],
    [new DataDirError('version', ''), 2],
    [new DataDirError('unusable', ''), 1],
    [new Error('anything'), 1],
  ])('%o: %i', (error, code) => {
    expect(exitCodeOf(error)).toBe(code);
  });
});
