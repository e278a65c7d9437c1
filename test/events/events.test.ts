import { expect, it } from 'vitest';
import { tellAll } from '../../src/events/events.ts';

it('a listener that throws costs no other listener its event, and is told of as a fault', () => {
  const heard: unknown[] = [];
  const broken = new Error('the metric is not a number');
  const tell = tellAll([
    {
      scrubbed: () => {
        throw broken;
      },
      fault: () => {
        throw new Error('and cannot hear of it');
      },
    },
    { scrubbed: (event) => heard.push(event), fault: (event) => heard.push(event) },
  ]);
  tell('scrubbed', { bytes: 1 });
  expect(heard).toEqual([{ where: 'scrubbed', error: broken }, { bytes: 1 }]);
});
