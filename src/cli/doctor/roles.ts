import { roles } from '../../db/migrate/roles.ts';
import { type Check, type Finding, ok, problem, warning } from './finding.ts';

/** The roles of pgacme, what this login may do with them, and who is not bound by them. */
export const rolesCheck: Check = {
  name: 'Roles',
  async run({ sql, config }) {
    if (sql === undefined) return [];
    const present = await sql<{ name: string }[]>`
      select rolname as name
        from pg_roles
       where rolname in ${sql(roles)}`;
    const missing = roles.filter((role) => !present.some(({ name }) => name === role));
    if (missing.length > 0) {
      return [problem(`There is no role ${missing.join(', ')}. Run pgacme migrate.`)];
    }
    const found: Finding[] = [];
    for (const [role, member] of [
      ['acme_worker', 'acme_owner'],
      ['acme_app', 'acme_multi_tenant'],
      ['acme_app', 'acme_admin'],
      ['acme_multi_tenant', 'acme_admin'],
    ] as const) {
      const [is] = await sql<[{ inherits: boolean }]>`
        select pg_has_role(${member}::name, ${role}::name, 'usage') as inherits`;
      if (!is.inherits) {
        found.push(
          problem(
            `${member} is no member of ${role}. Have a superuser run: grant ${role} to ${member};`,
          ),
        );
      }
    }
    const held = await sql<{ role: string }[]>`
      select role
        from unnest(${[...roles]}::name[]) role
       where pg_has_role(current_user, role, 'usage')`;
    const mine = held.map(({ role }) => role);
    found.push(
      mine.includes('acme_worker')
        ? ok(`${config.target.user} may run workers (${mine.join(', ')}).`)
        : problem(
            `${config.target.user} is no member of acme_worker, as which workers and pgacme doctor act. Let an administrator run: grant acme_worker to "${config.target.user}";`,
          ),
    );
    const unbound = await sql<{ name: string; why: string }[]>`
      select quote_ident(r.rolname) as name,
             case when r.rolsuper then 'superuser' else 'bypassrls' end as why
        from pg_roles r
       where r.rolcanlogin
         and (r.rolsuper or r.rolbypassrls)
         and exists (
           -- Superusers are members of everything: only a membership that somebody granted counts.
           with recursive up (oid) as (
             select m.roleid from pg_auth_members m where m.member = r.oid
              union
             select m.roleid from pg_auth_members m join up on m.member = up.oid
           )
           select from up join pg_roles g on g.oid = up.oid where g.rolname in ('acme_app', 'acme_reader'))
       order by 1`;
    for (const { name, why } of unbound) {
      found.push(
        warning(
          `The login ${name} of an application sees every tenant's rows. Let an administrator run: alter role ${name} no${why};`,
        ),
      );
    }
    return found;
  },
};
