import { beforeAll, expect, test } from 'vitest';
import { pemShapedLikeCsr } from '../helpers/pem.ts';
import { refusal } from '../helpers/refusal.ts';
import { openShop, type Shop } from '../helpers/shop.ts';
import { set } from '../helpers/state/index.ts';
import { until } from '../helpers/until.ts';

let shop: Shop;

beforeAll(async () => {
  shop = await openShop();
});

const reject = (id: string) =>
  set(shop.sql, 'csr', id, {
    state: 'rejected',
    reason_code: 'no_names',
    reason: 'It has no names.',
  });

const sleeping = () =>
  until(
    async () => {
      const rows = await shop.sql`
        select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`;
      return rows.length > 0;
    },
    { what: 'acme.wait sleeps' },
  );

test('acme.wait returns the row as soon as another session has ended it', async () => {
  const id = await shop.insert();
  const waiting = shop.app`select * from acme.wait(${id}, '30 s')`.execute();
  await sleeping();
  await reject(id);
  expect(await waiting).toMatchObject([{ id, state: 'rejected', reason: 'It has no names.' }]);
});

test('acme.wait returns the row as it then is when the time is over', async () => {
  const id = await shop.insert();
  const rows = await shop.app`select * from acme.wait(csr => ${id}, timeout => '0.1 s')`;
  expect(rows).toMatchObject([{ id, state: 'received', reason_code: 'waiting_for_worker' }]);
});

test('acme.wait does not take the old end of a csr for the end of a new request', async () => {
  const id = await shop.insert();
  await reject(id);
  expect(await shop.app`select state from acme.wait(${id}, '30 s')`).toEqual([
    { state: 'rejected' },
  ]);
  await shop.app`select acme.retry(${id})`;
  const waiting =
    shop.app`select state, has_pending_request from acme.wait(${id}, '30 s')`.execute();
  await sleeping();
  await shop.attend(id);
  await reject(id);
  expect(await waiting).toEqual([{ state: 'rejected', has_pending_request: false }]);
});

test.each(['repeatable read', 'serializable'])(
  'acme.wait raises at once under %s',
  async (level) => {
    const id = await shop.insert();
    const error = await refusal(
      shop.app.begin(`isolation level ${level}`, (tx) => tx`select acme.wait(${id}, '30 s')`),
    );
    expect(error).toMatchObject({
      code: '25000',
      message: `acme.wait cannot see other transactions' work under ${level}.`,
      hint: 'Call it in a transaction of READ COMMITTED, or outside one.',
    });
  },
);

test('acme.wait raises at once for a row that this transaction inserted, also in a savepoint', async () => {
  const error = await refusal(
    shop.app.begin(async (tx) => {
      const [row] = await tx.savepoint(
        (inner) => inner<[{ id: string }]>`
          insert into acme.csr (pem) values (${pemShapedLikeCsr()}) returning id`,
      );
      await tx`select acme.wait(${row.id}, '30 s')`;
    }),
  );
  expect(error.code).toBe('25000');
  expect(error.message).toMatch(
    /^csr \d+ was written in this transaction, and workers see it only after its COMMIT\.$/,
  );
});

test.each(['acme.retry', 'acme.renew', 'acme.cancel'])(
  'acme.wait raises at once for a row that this transaction changed by %s',
  async (request) => {
    const id = await shop.insert();
    const error = await refusal(
      shop.app.begin(async (tx) => {
        await tx.unsafe(`select ${request}($1)`, [id]);
        await tx`select acme.wait(${id}, '30 s')`;
      }),
    );
    expect(error).toMatchObject({ code: '25000', hint: 'Commit first, then call acme.wait.' });
  },
);

test('acme.wait works in a transaction that has written something else', async () => {
  const id = await shop.insert();
  const rows = await shop.app.begin(async (tx) => {
    await tx`insert into acme.csr (pem) values (${pemShapedLikeCsr()})`;
    return tx`select state from acme.wait(${id}, '0.05 s')`;
  });
  expect(rows).toEqual([{ state: 'received' }]);
});

test.each([['0'], ['987654321'], [null]])(
  'acme.wait raises at once for an id that does not exist: %s',
  async (id) => {
    const error = await refusal(shop.app`select acme.wait(${id}::bigint, '30 s')`);
    expect(error.code).toBe('P0002');
    expect(error.message).toMatch(/^There is no csr/);
  },
);
