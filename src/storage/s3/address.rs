//! Where a bucket lies: scheme, host, port, and what stands before the key.
//!
//! Virtual-host style (`https://bucket.s3.region.amazonaws.com/key`) unless the target asks for path style or the bucket
//! cannot be a host name there: a dot in the bucket's name breaks the certificate's wildcard, and an address in digits has no
//! subdomains. Source: "Methods for accessing a general purpose bucket", and the endpoint rules of the AWS SDKs.

use url::{Host, Url};

/// Both buckets of a target and how to reach them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The bucket of served copies.
    pub bucket: String,
    /// The bucket that clients write into; often the same.
    pub staging_bucket: String,
    /// The region that signs, for example `eu-central-1`.
    pub region: String,
    /// The address of an S3-compatible server, with port and base path; Amazon's own where absent.
    pub endpoint: Option<Url>,
    /// `https://host/bucket/key` instead of `https://bucket.host/key`.
    pub path_style: bool,
}

/// A location at which no bucket can lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not `http` or `https`, without a host, or with a query, fragment or password.
    #[error("an S3 endpoint is an http or https address without query, fragment or password")]
    Endpoint,
    /// Not a region's name.
    #[error("a region is written with a-z, 0-9 and '-', for example eu-central-1")]
    Region,
    /// Not a bucket's name.
    #[error("a bucket's name has 3 to 63 characters of a-z, 0-9, '-' and '.'")]
    Bucket,
}

/// An AWS partition: regions that share a DNS suffix and an ARN prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Partition {
    /// The second part of every ARN.
    pub(super) name: &'static str,
    /// What host names end in.
    pub(super) suffix: &'static str,
}

impl Partition {
    /// The partition that a region belongs to. Source: `partitions.json` of the AWS SDKs.
    pub(super) fn of(region: &str) -> Self {
        let (name, suffix) = match region {
            r if r.starts_with("cn-") => ("aws-cn", "amazonaws.com.cn"),
            r if r.starts_with("us-gov-") => ("aws-us-gov", "amazonaws.com"),
            r if r.starts_with("us-iso-") => ("aws-iso", "c2s.ic.gov"),
            r if r.starts_with("us-isob-") => ("aws-iso-b", "sc2s.sgov.gov"),
            r if r.starts_with("us-isof-") => ("aws-iso-f", "csp.hci.ic.gov"),
            r if r.starts_with("eu-isoe-") => ("aws-iso-e", "cloud.adc-e.uk"),
            r if r.starts_with("eusc-") => ("aws-eusc", "amazonaws.eu"),
            _ => ("aws", "amazonaws.com"),
        };
        Self { name, suffix }
    }
}

/// A bucket's address in the form in which URLs are put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The bucket.
    pub(super) bucket: String,
    /// What stands before the key, for example `https://bucket.s3.eu-central-1.amazonaws.com/`.
    pub(super) base: String,
    /// Where in `base` the path begins.
    pub(super) path_at: usize,
    /// The `Host` header: with the port, unless it is the scheme's own.
    pub(super) host: String,
    /// Where forms are sent.
    pub(super) form: String,
}

impl Place {
    /// The place of one of the location's buckets.
    pub(super) fn new(location: &Location, bucket: &str) -> Result<Self, AddressError> {
        let label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if location.region.is_empty() || !location.region.bytes().all(label) {
            return Err(AddressError::Region);
        }
        let edges = [bucket.bytes().next(), bucket.bytes().last()];
        if !(3..=63).contains(&bucket.len())
            || !bucket.bytes().all(|b| label(b) || b == b'.')
            || bucket.contains("..")
            || edges.iter().any(|edge| edge.is_none_or(|b| !b.is_ascii_alphanumeric()))
        {
            return Err(AddressError::Bucket);
        }
        let endpoint = match &location.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => amazon(&location.region)?,
        };
        let plain = endpoint.query().is_none()
            && endpoint.fragment().is_none()
            && endpoint.username().is_empty()
            && endpoint.password().is_none();
        if !plain || !matches!(endpoint.scheme(), "http" | "https") {
            return Err(AddressError::Endpoint);
        }
        let host = endpoint.host().ok_or(AddressError::Endpoint)?;
        let named = matches!(host, Host::Domain(_));
        let virtual_host = !location.path_style && named && !bucket.contains('.');
        let authority = match endpoint.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let host = if virtual_host { format!("{bucket}.{authority}") } else { authority };
        let origin = format!("{}://{host}", endpoint.scheme());
        let root = endpoint.path().trim_end_matches('/');
        let (base, form) = if virtual_host {
            (format!("{origin}{root}/"), format!("{origin}{root}/"))
        } else {
            (format!("{origin}{root}/{bucket}/"), format!("{origin}{root}/{bucket}"))
        };
        Ok(Self { bucket: bucket.to_owned(), path_at: origin.len(), base, host, form })
    }
}

/// Amazon's own address for a region.
fn amazon(region: &str) -> Result<Url, AddressError> {
    let suffix = Partition::of(region).suffix;
    Url::parse(&format!("https://s3.{region}.{suffix}")).map_err(|_| AddressError::Region)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(region: &str, endpoint: Option<&str>, path_style: bool, bucket: &str) -> Result<String, AddressError> {
        let location = Location {
            bucket: bucket.into(),
            staging_bucket: bucket.into(),
            region: region.into(),
            endpoint: endpoint.map(|text| text.parse().unwrap()),
            path_style,
        };
        Place::new(&location, bucket).map(|place| place.base)
    }

    #[test]
    fn amazon_regions_have_the_suffix_of_their_partition() {
        let host = |region| base(region, None, false, "menus").unwrap();
        assert_eq!(host("us-east-1"), "https://menus.s3.us-east-1.amazonaws.com/");
        assert_eq!(host("cn-north-1"), "https://menus.s3.cn-north-1.amazonaws.com.cn/");
        assert_eq!(host("us-gov-west-1"), "https://menus.s3.us-gov-west-1.amazonaws.com/");
    }

    #[test]
    fn a_bucket_that_cannot_be_a_host_name_goes_into_the_path() {
        assert_eq!(base("eu-central-1", None, false, "a.b"), Ok("https://s3.eu-central-1.amazonaws.com/a.b/".into()));
        let local = Some("http://127.0.0.1:4566");
        assert_eq!(base("eu-central-1", local, false, "menus"), Ok("http://127.0.0.1:4566/menus/".into()));
    }

    #[test]
    fn endpoints_keep_their_port_and_base_path() {
        let custom = Some("https://files.example:9000/s3/");
        assert_eq!(base("eu-central-1", custom, true, "menus"), Ok("https://files.example:9000/s3/menus/".into()));
        assert_eq!(base("eu-central-1", custom, false, "menus"), Ok("https://menus.files.example:9000/s3/".into()));
        let usual = Some("https://files.example:443");
        assert_eq!(base("eu-central-1", usual, true, "menus"), Ok("https://files.example/menus/".into()));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        assert_eq!(base("eu-central-1", Some("ftp://x"), true, "menus"), Err(AddressError::Endpoint));
        assert_eq!(base("eu-central-1", Some("https://u:p@x"), true, "menus"), Err(AddressError::Endpoint));
        assert_eq!(base("eu-central-1", Some("https://x/?a=b"), true, "menus"), Err(AddressError::Endpoint));
        assert_eq!(base("eu central", None, true, "menus"), Err(AddressError::Region));
        for bucket in ["", "ab", "Menus", "a/b/c", "-ab", "ab.", "a..b", &"x".repeat(64)] {
            assert_eq!(base("eu-central-1", None, true, bucket), Err(AddressError::Bucket), "{bucket:?}");
        }
    }
}
