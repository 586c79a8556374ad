//! Metrics as OpenTelemetry's protocol has them (OTLP 1, `opentelemetry/proto/metrics/v1/metrics.proto`), read as far as gauges
//! and sums go.
//!
//! A reader of slices, which takes no memory: a general protobuf library decodes the whole tree first, where two bytes on the wire
//! become a hundred, and OpenTelemetry's own types bring their SDK. Nesting is fixed, so nothing recurses.
//!
//! ```text
//!  MetricsData ─1─▸ ResourceMetrics ─1─▸ Resource ─1─▸ KeyValue
//!                                   └2─▸ ScopeMetrics ─2─▸ Metric: name 1, gauge 5, sum 7, others 9 to 11
//!  Gauge, Sum ─1─▸ NumberDataPoint: as_double 4, as_int 6, attributes 7;   Sum: temporality 2, is_monotonic 3
//! ```

use std::fmt;

/// Attributes of one point, its resource's among them, that are read; further ones are left out.
const ATTRIBUTES_MAX: usize = 16;
/// Points of one message that are read.
pub(super) const POINTS_MAX: usize = 2048;

/// Why bytes are no metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OtlpError {
    /// A field ends too early.
    Truncated,
    /// A number is longer than any.
    Number,
    /// A field has a number or a type that no field has.
    Field,
    /// Text that is none.
    Text,
}

impl fmt::Display for OtlpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "a field of the metrics ends too early",
            Self::Number => "a number in the metrics is too long",
            Self::Field => "a field of the metrics is of no known type",
            Self::Text => "a text in the metrics is not UTF-8",
        })
    }
}

/// What a point's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PointKind {
    /// How things stand.
    Gauge,
    /// What was added since the last push; it only grows.
    Added,
    /// What was added since the client began; it only grows.
    Total,
}

/// One attribute's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum AttributeValue<'a> {
    Text(&'a str),
    Flag(bool),
    Whole(i64),
    Decimal(f64),
}

impl fmt::Display for AttributeValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Flag(flag) => flag.fmt(f),
            Self::Whole(number) => number.fmt(f),
            Self::Decimal(number) => number.fmt(f),
        }
    }
}

/// One point of one metric.
#[derive(Debug)]
pub(super) struct Point<'a> {
    pub(super) metric: &'a str,
    pub(super) kind: PointKind,
    pub(super) value: f64,
    /// Those of the resource first.
    pub(super) attributes: &'a [(&'a str, AttributeValue<'a>)],
}

/// Hands out the points of a message; how many were left out: histograms and what is beyond [`POINTS_MAX`].
///
/// # Errors
/// [`OtlpError`]: points before the fault were handed out.
pub(super) fn read(message: &[u8], each: &mut dyn FnMut(&Point<'_>)) -> Result<usize, OtlpError> {
    let mut reader = Reader { each, read: 0, skipped: 0 };
    for resource_metrics in messages(message, 1) {
        let resource_metrics = resource_metrics?;
        let mut shared = Vec::new();
        for resource in messages(resource_metrics, 1) {
            add_attributes(resource?, 1, &mut shared)?;
        }
        for scope_metrics in messages(resource_metrics, 2) {
            for metric in messages(scope_metrics?, 2) {
                reader.metric(metric?, &shared)?;
            }
        }
    }
    Ok(reader.skipped)
}

type Attributes<'a> = Vec<(&'a str, AttributeValue<'a>)>;

struct Reader<'r> {
    each: &'r mut dyn FnMut(&Point<'_>),
    read: usize,
    skipped: usize,
}

impl Reader<'_> {
    fn metric(&mut self, metric: &[u8], shared: &Attributes<'_>) -> Result<(), OtlpError> {
        let mut name = "";
        for field in Fields(metric) {
            if let (1, Value::Bytes(bytes)) = field? {
                name = text(bytes)?;
            }
        }
        for field in Fields(metric) {
            match field? {
                (5, Value::Bytes(gauge)) => self.points(name, PointKind::Gauge, gauge, shared)?,
                (7, Value::Bytes(sum)) => self.points(name, kind_of_sum(sum)?, sum, shared)?,
                (9..=11, Value::Bytes(_)) => self.skipped += 1,
                _ => {}
            }
        }
        Ok(())
    }

    fn points(
        &mut self,
        metric: &str,
        kind: PointKind,
        data: &[u8],
        shared: &Attributes<'_>,
    ) -> Result<(), OtlpError> {
        for point in messages(data, 1) {
            let point = point?;
            if self.read >= POINTS_MAX {
                self.skipped += 1;
                continue;
            }
            self.read += 1;
            let Some(value) = value_of(point)? else { continue };
            let mut attributes = shared.clone();
            add_attributes(point, 7, &mut attributes)?;
            (self.each)(&Point { metric, kind, value, attributes: &attributes });
        }
        Ok(())
    }
}

/// Whether a sum only grows, and since when it is counted.
fn kind_of_sum(sum: &[u8]) -> Result<PointKind, OtlpError> {
    const DELTA: u64 = 1;
    let (mut temporality, mut is_monotonic) = (0, false);
    for field in Fields(sum) {
        match field? {
            (2, Value::Number(number)) => temporality = number,
            (3, Value::Number(number)) => is_monotonic = number != 0,
            _ => {}
        }
    }
    Ok(match (is_monotonic, temporality) {
        (false, _) => PointKind::Gauge,
        (true, DELTA) => PointKind::Added,
        (true, _) => PointKind::Total,
    })
}

fn value_of(point: &[u8]) -> Result<Option<f64>, OtlpError> {
    let mut value = None;
    for field in Fields(point) {
        match field? {
            (4, Value::Fixed64(bits)) => value = Some(f64::from_bits(bits)),
            (6, Value::Fixed64(bits)) => value = Some(bits.cast_signed() as f64),
            _ => {}
        }
    }
    Ok(value)
}

fn add_attributes<'a>(
    message: &'a [u8],
    number: u32,
    attributes: &mut Attributes<'a>,
) -> Result<(), OtlpError> {
    for key_value in messages(message, number) {
        let (mut key, mut value) = ("", None);
        for field in Fields(key_value?) {
            match field? {
                (1, Value::Bytes(bytes)) => key = text(bytes)?,
                (2, Value::Bytes(any)) => value = any_value(any)?,
                _ => {}
            }
        }
        if let Some(value) = value
            && attributes.len() < ATTRIBUTES_MAX
        {
            attributes.push((key, value));
        }
    }
    Ok(())
}

/// The value of an attribute, unless it is a list, a map or bytes.
fn any_value(any: &[u8]) -> Result<Option<AttributeValue<'_>>, OtlpError> {
    let mut value = None;
    for field in Fields(any) {
        value = match field? {
            (1, Value::Bytes(bytes)) => Some(AttributeValue::Text(text(bytes)?)),
            (2, Value::Number(number)) => Some(AttributeValue::Flag(number != 0)),
            (3, Value::Number(number)) => Some(AttributeValue::Whole(number.cast_signed())),
            (4, Value::Fixed64(bits)) => Some(AttributeValue::Decimal(f64::from_bits(bits))),
            _ => None,
        };
    }
    Ok(value)
}

fn text(bytes: &[u8]) -> Result<&str, OtlpError> {
    std::str::from_utf8(bytes).map_err(|_| OtlpError::Text)
}

/// The value of a field, by protobuf's wire types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value<'a> {
    Number(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// The fields of a message that are messages themselves and have this number.
fn messages(message: &[u8], wanted: u32) -> impl Iterator<Item = Result<&[u8], OtlpError>> {
    Fields(message).filter_map(move |field| match field {
        Ok((number, Value::Bytes(bytes))) if number == wanted => Some(Ok(bytes)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

/// The fields of a message, with their numbers; nothing more after an error.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), OtlpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u32, Value<'a>), OtlpError> {
        let tag = u32::try_from(self.varint()?).map_err(|_| OtlpError::Field)?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.fixed()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| OtlpError::Truncated)?;
                Value::Bytes(self.0.split_off(..length).ok_or(OtlpError::Truncated)?)
            }
            5 => {
                self.fixed::<4>()?;
                Value::Fixed32
            }
            _ => return Err(OtlpError::Field),
        };
        match tag >> 3 {
            0 => Err(OtlpError::Field),
            number => Ok((number, value)),
        }
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], OtlpError> {
        let bytes = self.0.split_off(..N).ok_or(OtlpError::Truncated)?;
        bytes.first_chunk().copied().ok_or(OtlpError::Truncated)
    }

    fn varint(&mut self) -> Result<u64, OtlpError> {
        let mut number = 0u64;
        for place in 0..10 {
            let byte = *self.0.split_off_first().ok_or(OtlpError::Truncated)?;
            number |= u64::from(byte & 0x7f).checked_shl(7 * place).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(OtlpError::Number)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A field that holds bytes.
    pub(crate) fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            out.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend_from_slice(content);
        out
    }

    fn attribute(number: u8, key: &str, value: &str) -> Vec<u8> {
        field(number, &[field(1, key.as_bytes()), field(2, &field(1, value.as_bytes()))].concat())
    }

    pub(crate) fn whole(value: i64, attributes: &[(&str, &str)]) -> Vec<u8> {
        let attributes = attributes.iter().flat_map(|(key, value)| attribute(7, key, value));
        let number = [&[6 << 3 | 1][..], &value.to_le_bytes()].concat();
        field(1, &number.into_iter().chain(attributes).collect::<Vec<_>>())
    }

    fn decimal(value: f64) -> Vec<u8> {
        field(1, &[&[4 << 3 | 1][..], &value.to_le_bytes()].concat())
    }

    pub(crate) fn gauge(name: &str, points: &[Vec<u8>]) -> Vec<u8> {
        // The name behind the data: fields come in any order.
        field(2, &[field(5, &points.concat()), field(1, name.as_bytes())].concat())
    }

    pub(crate) fn sum(name: &str, temporality: u8, is_monotonic: u8, points: &[Vec<u8>]) -> Vec<u8> {
        let sum = [points.concat(), vec![2 << 3, temporality, 3 << 3, is_monotonic]].concat();
        field(2, &[field(1, name.as_bytes()), field(7, &sum)].concat())
    }

    /// A whole message of these metrics, of a resource with one attribute.
    pub(crate) fn message(metrics: &[Vec<u8>]) -> Vec<u8> {
        let resource = field(1, &attribute(1, "client_rack", "r1"));
        field(1, &[field(2, &metrics.concat()), resource].concat())
    }

    fn shown(message: &[u8]) -> Result<(Vec<String>, usize), OtlpError> {
        let mut points = Vec::new();
        let skipped = read(message, &mut |point| {
            let attributes: Vec<_> =
                point.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
            points.push(format!(
                "{} {:?} {} {}",
                point.metric,
                point.kind,
                point.value,
                attributes.join(",")
            ));
        })?;
        Ok((points, skipped))
    }

    fn sample() -> Vec<u8> {
        let histogram = field(2, &[field(1, b"h"), field(9, &[])].concat());
        message(&[
            gauge("rate", &[decimal(0.5), whole(-7, &[("topic", "a"), ("node", "1")])]),
            sum("sent", 1, 1, &[whole(3, &[])]),
            sum("sent", 2, 1, &[whole(4, &[])]),
            sum("open", 1, 0, &[whole(5, &[])]),
            histogram,
        ])
    }

    #[test]
    fn gauges_and_sums_are_read_with_their_attributes() {
        let expected = [
            "rate Gauge 0.5 client_rack=r1",
            "rate Gauge -7 client_rack=r1,topic=a,node=1",
            "sent Added 3 client_rack=r1",
            "sent Total 4 client_rack=r1",
            "open Gauge 5 client_rack=r1",
        ];
        assert_eq!(shown(&sample()), Ok((expected.map(str::to_owned).to_vec(), 1)));
        assert_eq!(shown(&[]), Ok((Vec::new(), 0)));
    }

    #[test]
    fn points_beyond_the_most_are_counted_alone() {
        let points: Vec<_> = (0..POINTS_MAX as i64 + 3).map(|value| whole(value, &[])).collect();
        let (read, skipped) = shown(&message(&[gauge("many", &points)])).expect("valid");
        assert_eq!((read.len(), skipped), (POINTS_MAX, 3));
    }

    #[test]
    fn what_is_cut_within_a_field_is_an_error() {
        let whole = sample();
        for length in 1..whole.len() {
            assert!(shown(&whole[..length]).is_err(), "cut at {length}: the outermost field is one");
        }
        for (bytes, expected) in [
            (&[0x0a][..], OtlpError::Truncated),
            (&[0x0a, 5, 0], OtlpError::Truncated),
            (&[0xff; 11], OtlpError::Number),
            (&[0x0b, 0], OtlpError::Field),
            (&[0x02, 0], OtlpError::Field),
            (&field(1, &field(2, &field(2, &field(1, &[0xff])))), OtlpError::Text),
        ] {
            assert_eq!(shown(bytes), Err(expected), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(shown(&bytes));
            drop(shown(&message(&[bytes])));
        }

        #[test]
        fn a_damaged_message_is_read_or_refused(place in 0usize..1000, byte: u8) {
            let mut bytes = sample();
            let place = place % bytes.len();
            bytes[place] = byte;
            drop(shown(&bytes));
        }
    }
}
