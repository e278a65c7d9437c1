import { expect, it } from 'vitest';
import { LineBatches, type ByteSink } from '../../src/log/log-file.ts';
import { eventually } from '../support/wait.ts';

class Sink implements ByteSink {
  readonly written: Buffer[] = [];
  isFlushed = false;
  readonly #flushed: (() => void)[] = [];

  get text(): string {
    return Buffer.concat(this.written).toString();
  }

  write(bytes: Buffer): void {
    this.written.push(bytes);
  }

  flush(done: () => void): void {
    this.#flushed.push(done);
  }

  flushSync(): void {
    this.isFlushed = true;
  }

  doneWriting(): void {
    for (const done of this.#flushed) done();
  }
}

it('a line that comes alone goes on at once, and those that follow it together', async () => {
  const sink = new Sink();
  const lines = new LineBatches(sink);
  lines.write('first\n');
  expect(sink.text).toBe('first\n');
  const others = Array.from({ length: 100 }, (_, number) => `number ${number} – wörtlich 🐳\n`);
  for (const line of others) lines.write(line);
  await eventually(() => sink.written.length > 1, 'the others to go on');
  expect(sink.written).toHaveLength(2);
  expect(sink.text).toBe(['first\n', ...others].join(''));
});

it('what has gone on stays as it was, however much follows', () => {
  const sink = new Sink();
  const lines = new LineBatches(sink);
  const all = Array.from({ length: 50 }, (_, number) => `${String(number).repeat(number * 200)}ü\n`);
  for (const line of all) lines.write(line);
  lines.flushSync();
  expect(sink.text).toBe(all.join(''));
});

it('whoever can wait hears when all lines are written', () => {
  const sink = new Sink();
  const lines = new LineBatches(sink);
  lines.write('first\n');
  lines.write('last\n');
  let isDone = false;
  lines.flush(() => (isDone = true));
  expect(sink.text).toBe('first\nlast\n');
  expect(isDone).toBe(false);
  sink.doneWriting();
  expect(isDone).toBe(true);
});

it('at the end nothing is waited for', () => {
  const sink = new Sink();
  const lines = new LineBatches(sink);
  lines.write('first\n');
  lines.write('last\n');
  lines.flushSync();
  expect(sink.text).toBe('first\nlast\n');
  expect(sink.isFlushed).toBe(true);
});
