//! What operators may do on the admin listener: roles, and the acts that each of them covers.
//!
//! An operator has a set of roles; an act is allowed where one of them covers it. Every role may look and ask for access,
//! and `admin` covers everything. Absent on purpose: what an act means for one object or app; that is `policy`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::text::written_as_text;

/// What an operator is to the gateway.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AdminRole {
    /// Looks at everything and changes nothing.
    Viewer,
    /// Decides on held objects.
    Reviewer,
    /// Gives, renews and takes away the access of workflows.
    Provisioner,
    /// Everything, and alone: other operators, the gateway's keys, the end of a block.
    Admin,
}

/// A text that is no role of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an operator's role is viewer, reviewer, provisioner or admin")]
pub struct ParseAdminRoleError;

impl AdminRole {
    /// Every role, from the least to the most.
    pub const ALL: [AdminRole; 4] = [Self::Viewer, Self::Reviewer, Self::Provisioner, Self::Admin];

    /// The role's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Reviewer => "reviewer",
            Self::Provisioner => "provisioner",
            Self::Admin => "admin",
        }
    }

    /// Whether the role alone is enough for the act.
    pub fn covers(self, act: AdminAct) -> bool {
        match act {
            AdminAct::Look | AdminAct::AskForAccess => true,
            AdminAct::Review => matches!(self, Self::Reviewer | Self::Admin),
            AdminAct::Provision | AdminAct::Revoke => matches!(self, Self::Provisioner | Self::Admin),
            AdminAct::Administer => self == Self::Admin,
        }
    }
}

impl fmt::Display for AdminRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AdminRole {
    type Err = ParseAdminRoleError;

    fn from_str(text: &str) -> Result<Self, ParseAdminRoleError> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(ParseAdminRoleError)
    }
}

written_as_text!(AdminRole, |role| role.as_str());

/// A kind of act on the admin listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdminAct {
    /// Read anything: tokens without secrets, objects, the audit trail, nodes.
    Look,
    /// Ask that a workflow be given access.
    AskForAccess,
    /// Release, delete or inspect again what is held.
    Review,
    /// Make, rotate and approve tokens of workflows.
    Provision,
    /// Revoke, block and contain.
    Revoke,
    /// Make operators, rotate the gateway's keys, lift a block.
    Administer,
}

impl AdminAct {
    /// Every act, in the order in which they are documented.
    pub const ALL: [AdminAct; 6] =
        [Self::Look, Self::AskForAccess, Self::Review, Self::Provision, Self::Revoke, Self::Administer];

    /// The act in words, for the refusal of whoever may not: "may not … ".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Look => "look at this",
            Self::AskForAccess => "ask for access",
            Self::Review => "review objects",
            Self::Provision => "provision tokens",
            Self::Revoke => "revoke access",
            Self::Administer => "administer the gateway",
        }
    }

    /// The roles that cover it.
    pub fn roles(self) -> impl Iterator<Item = AdminRole> {
        AdminRole::ALL.into_iter().filter(move |role| role.covers(self))
    }
}

/// The roles of one operator, each once; none allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<AdminRole>", into = "Vec<AdminRole>")]
pub struct AdminRoles(Vec<AdminRole>);

impl AdminRoles {
    /// `admin` alone.
    pub fn admin() -> Self {
        Self(vec![AdminRole::Admin])
    }

    /// Whether one of them covers the act.
    pub fn cover(&self, act: AdminAct) -> bool {
        self.0.iter().any(|role| role.covers(act))
    }

    /// From the least to the most.
    pub fn iter(&self) -> impl Iterator<Item = AdminRole> {
        self.0.iter().copied()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<AdminRole>> for AdminRoles {
    fn from(mut roles: Vec<AdminRole>) -> Self {
        roles.sort_unstable();
        roles.dedup();
        Self(roles)
    }
}

impl From<AdminRoles> for Vec<AdminRole> {
    fn from(roles: AdminRoles) -> Self {
        roles.0
    }
}

impl FromIterator<AdminRole> for AdminRoles {
    fn from_iter<I: IntoIterator<Item = AdminRole>>(roles: I) -> Self {
        roles.into_iter().collect::<Vec<_>>().into()
    }
}

impl fmt::Display for AdminRoles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, role) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            f.write_str(role.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_looks_and_only_admin_does_everything() {
        for role in AdminRole::ALL {
            assert!(role.covers(AdminAct::Look) && role.covers(AdminAct::AskForAccess), "{role}");
            let everything = AdminAct::ALL.into_iter().all(|act| role.covers(act));
            assert_eq!(everything, role == AdminRole::Admin, "{role}");
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert!(!AdminRole::Reviewer.covers(AdminAct::Provision) && !AdminRole::Provisioner.covers(AdminAct::Review));
        assert!(!AdminRoles::default().cover(AdminAct::Look), "without a role nothing");
    }

    #[test]
    fn roles_are_a_set() {
        let roles: AdminRoles = serde_json::from_str(r#"["admin","viewer","admin"]"#).unwrap();
        assert_eq!(serde_json::to_string(&roles).unwrap(), r#"["viewer","admin"]"#);
        assert_eq!(roles.to_string(), "viewer, admin");
        assert!(serde_json::from_str::<AdminRoles>(r#"["root"]"#).is_err());
        let both: AdminRoles = [AdminRole::Provisioner, AdminRole::Reviewer].into_iter().collect();
        assert!(both.cover(AdminAct::Review) && both.cover(AdminAct::Revoke) && !both.cover(AdminAct::Administer));
    }
}
