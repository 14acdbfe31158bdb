//! What a request for a token asks for, in domain types.

use quorate_proto::v1::CreateTokenRequest;
use quorate_raft_store::{RequestId, state::TokenPurpose};

use super::{ApiError, admin::invalid};

/// What the token is for.
///
/// # Errors
/// Invalid, naming the field.
pub(super) fn purpose(request: &CreateTokenRequest) -> Result<TokenPurpose, ApiError> {
    let CreateTokenRequest { role, node_name, label, approval, access, .. } = request;
    if role.is_empty() {
        if label.is_empty() || label.len() > 128 {
            let rule = "an administrator's token needs a label of 1 to 128 characters";
            return Err(invalid("label_malformed", rule));
        }
        let label = label.clone();
        return match access.as_str() {
            "" | "admin" => Ok(TokenPurpose::Admin { label }),
            "viewer" => Ok(TokenPurpose::Viewer { label }),
            _ => Err(invalid("access_malformed", "the access is admin or viewer")),
        };
    }
    let role = role.parse().map_err(|error| invalid("role_malformed", error))?;
    let name = (!node_name.is_empty()).then(|| node_name.parse()).transpose();
    let name = name.map_err(|error| invalid("node_name_malformed", error))?;
    Ok(if *approval {
        TokenPurpose::JoinWithApproval { role, name }
    } else {
        TokenPurpose::Join { role, name }
    })
}

/// The id that names the request; none if the caller gives none.
///
/// # Errors
/// Invalid: `request_id_malformed`.
pub(super) fn request_id(request: &CreateTokenRequest) -> Result<Option<RequestId>, ApiError> {
    if request.request_id.is_empty() {
        return Ok(None);
    }
    let bytes = <[u8; 16]>::try_from(request.request_id.as_slice());
    let bytes = bytes.map_err(|_| invalid("request_id_malformed", "a request id has 16 bytes"))?;
    Ok(Some(RequestId(u128::from_be_bytes(bytes))))
}
