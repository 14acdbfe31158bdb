//! Claims: the types that the vendor signs, and their rules.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Binding, License, LicenseKind, Timestamp};

/// Something that the vendor signs.
pub trait Claims: Serialize + DeserializeOwned {
    /// The type's name: claim `typ` and implicit assertion of its tokens.
    const TYPE: &'static str;
    /// What it is, in words for messages.
    const WHAT: &'static str;

    /// When it was signed, by the portal's clock.
    fn issued_at(&self) -> Timestamp;

    /// The rules that its fields keep among each other; checked before signing and after verifying.
    ///
    /// # Errors
    ///
    /// The rule that is broken, in words.
    fn check(&self) -> Result<(), String>;
}

impl Claims for License {
    const TYPE: &'static str = "quorate.license.v1";
    const WHAT: &'static str = "license";

    fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    fn check(&self) -> Result<(), String> {
        if !self.entitlements.is_sorted_by(|a, b| a.feature < b.feature) {
            return Err("its entitlements are not sorted by feature, each once".to_owned());
        }
        match (self.kind, self.expires_at) {
            (LicenseKind::Perpetual, Some(_)) => Err("it is perpetual and has an end".to_owned()),
            (LicenseKind::Trial | LicenseKind::Subscription, None) => {
                Err(format!("it is a {} and has no end", self.kind))
            }
            (_, Some(end)) if end <= self.not_before => Err("it ends before it begins".to_owned()),
            _ => Ok(()),
        }
    }
}

impl Claims for Binding {
    const TYPE: &'static str = "quorate.binding.v1";
    const WHAT: &'static str = "binding";

    fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    fn check(&self) -> Result<(), String> {
        if !self.nodes.is_sorted_by(|a, b| a.id < b.id) {
            return Err("its nodes are not sorted by id, each once".to_owned());
        }
        for (index, node) in self.nodes.iter().enumerate() {
            if let Some(other) =
                self.nodes[..index].iter().find(|other| other.computer_id == node.computer_id)
            {
                return Err(format!(
                    "nodes {} and {} have the same computer ID {}",
                    other.id, node.id, node.computer_id
                ));
            }
        }
        match self.nodes.iter().find(|node| node.id == self.first_license_node) {
            None => Err(format!("its first license node {} is not among its nodes", self.first_license_node)),
            Some(node) if node.computer_id != self.home_computer_id => {
                Err(format!("its home is not the computer of its first license node {}", node.id))
            }
            Some(_) => Ok(()),
        }
    }
}

#[derive(Serialize)]
struct EnvelopeOut<'a, T> {
    typ: &'a str,
    #[serde(flatten)]
    claims: &'a T,
}

#[derive(Deserialize)]
struct EnvelopeIn<T> {
    typ: String,
    #[serde(flatten)]
    claims: T,
}

/// The claims as the JSON that is signed.
pub(super) fn to_json<T: Claims>(claims: &T) -> Result<String, String> {
    claims.check()?;
    serde_json::to_string(&EnvelopeOut { typ: T::TYPE, claims }).map_err(|error| error.to_string())
}

/// The claims of JSON whose signature is good.
pub(super) fn from_json<T: Claims>(json: &str) -> Result<T, String> {
    let envelope: EnvelopeIn<T> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    if envelope.typ != T::TYPE {
        return Err(format!("its type is '{}' instead of '{}'", envelope.typ, T::TYPE));
    }
    envelope.claims.check()?;
    Ok(envelope.claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entitlement, Quantity, samples};

    #[test]
    fn a_license_keeps_its_rules() {
        let good = samples::license();
        assert_eq!(good.check(), Ok(()));
        let mut wrong = good.clone();
        wrong.expires_at = None;
        assert_eq!(wrong.check().unwrap_err(), "it is a subscription and has no end");
        wrong.kind = LicenseKind::Perpetual;
        assert_eq!(wrong.check(), Ok(()));
        wrong.expires_at = good.expires_at;
        assert_eq!(wrong.check().unwrap_err(), "it is perpetual and has an end");
        let mut wrong = good.clone();
        wrong.expires_at = Some(good.not_before);
        assert_eq!(wrong.check().unwrap_err(), "it ends before it begins");
        let mut wrong = good.clone();
        let double =
            Entitlement { feature: good.entitlements[0].feature.clone(), quantity: Quantity::Unlimited };
        wrong.entitlements.insert(0, double);
        assert_eq!(wrong.check().unwrap_err(), "its entitlements are not sorted by feature, each once");
    }

    #[test]
    fn a_binding_keeps_its_rules() {
        let good = samples::binding();
        assert_eq!(good.check(), Ok(()));
        let mut wrong = good.clone();
        wrong.nodes.reverse();
        assert_eq!(wrong.check().unwrap_err(), "its nodes are not sorted by id, each once");
        let mut wrong = good.clone();
        wrong.nodes[1].computer_id = wrong.nodes[0].computer_id;
        assert!(wrong.check().unwrap_err().contains("have the same computer ID"));
        let mut wrong = good.clone();
        wrong.first_license_node = crate::NodeId(99);
        assert_eq!(wrong.check().unwrap_err(), "its first license node 99 is not among its nodes");
        let mut wrong = good;
        wrong.home_computer_id = wrong.nodes[1].computer_id;
        assert!(wrong.check().unwrap_err().starts_with("its home is not the computer"));
    }

    #[test]
    fn the_type_is_part_of_the_json() {
        let json = to_json(&samples::license()).unwrap();
        assert!(json.starts_with("{\"typ\":\"quorate.license.v1\",\"support_id\":"), "{json}");
        assert_eq!(from_json::<License>(&json).unwrap(), samples::license());
        let other = json.replace("quorate.license.v1", "quorate.license.v2");
        assert!(from_json::<License>(&other).unwrap_err().contains("quorate.license.v2"));
    }

    #[test]
    fn unknown_claims_are_ignored_so_that_newer_portals_can_add_some() {
        let json = to_json(&samples::binding()).unwrap().replacen('{', "{\"new\":{\"a\":[1]},", 1);
        assert_eq!(from_json::<Binding>(&json).unwrap(), samples::binding());
    }
}
