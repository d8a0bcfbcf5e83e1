//! Names, choices and refusals.

use super::*;

fn of(names: &str, layout: Layout, columns: &str) -> Result<Schema, String> {
    let header = Header {
        names: names.split(',').map(str::to_owned).collect(),
        named: true,
        row_names: false,
    };
    let reading = Reading {
        columns: columns.parse().unwrap(),
        ..Reading::default()
    };
    Schema::of(Path::new("a.csv"), &header, layout, &reading).map_err(|e| e.to_string())
}

fn plainly(names: &str) -> Result<Schema, String> {
    of(names, Layout::default(), "")
}

#[test]
fn every_column_has_a_place() {
    let schema = plainly("src,dst,time,label,weight").unwrap();
    assert_eq!(
        (schema.src, schema.dst, schema.time, schema.label),
        (0, 1, 2, Some(3))
    );
    assert_eq!(schema.candidates, [4]);
    let schema = plainly(",u,i,ts,label,idx,weight").unwrap();
    assert_eq!(
        (schema.src, schema.event_id, schema.label),
        (1, Some(5), Some(4))
    );
    assert_eq!((schema.candidates, schema.two_spaces), (vec![6], false));
    let schema = plainly(",src,dst,time,int_roll,ext_roll").unwrap();
    assert_eq!((schema.event_id, schema.split), (Some(0), Some(5)));
    let left_out: Vec<usize> = schema.left_out.iter().map(|(at, _)| *at).collect();
    assert_eq!((schema.candidates.len(), left_out), (0, vec![0, 4]));
    let schema = plainly("f10,f2,from_address,To_Address,TIMESTAMP,f1").unwrap();
    assert_eq!((schema.src, schema.dst, schema.time), (2, 3, 4));
    assert_eq!(schema.candidates, [0, 1, 5]);
    assert_eq!(schema.in_order(vec![0, 1, 5]), [5, 1, 0]);
    // One without a number: file order.
    let schema = plainly("w,f10,src,dst,time,f2").unwrap();
    assert_eq!(schema.in_order(vec![0, 1, 5]), [0, 1, 5]);
    let schema = plainly("timestamp,visitorid,event,itemid").unwrap();
    assert!(schema.two_spaces);
    assert_eq!(
        schema.as_choice(&[], true),
        "src=visitorid,dst=itemid,time=timestamp,features="
    );
}

#[test]
fn half_known_headers_are_refused() {
    let error = plainly("timestamp,amount,payed_by,payed_to").unwrap_err();
    assert_eq!(
        error,
        "a.csv: no column is recognised by name as the source, the destination (columns: \
         `timestamp`, `amount`, `payed_by`, `payed_to`); say which it is with --columns \
         src=COLUMN,dst=COLUMN,time=timestamp; if the first line is an event and no header: \
         --no-header"
    );
    let error = plainly("user,source,target,time").unwrap_err();
    assert_eq!(
        error,
        "a.csv: the columns `user` and `source` can both be the source; say which with \
         --columns src=source"
    );
    let both = of("user,source,target,time", Layout::default(), "src=source").unwrap();
    // What was not chosen is a column like any other.
    assert_eq!((both.src, both.candidates), (1, vec![0]));
}

#[test]
fn a_choice_comes_first_and_must_be_there() {
    let chosen = of(
        "a,b,c,d,e",
        Layout::default(),
        "src=b,dst=A,time=3,features=e",
    )
    .unwrap();
    assert_eq!((chosen.src, chosen.dst, chosen.time), (1, 0, 2));
    assert_eq!((chosen.candidates, chosen.left_out[0].0), (vec![4], 3));
    for (columns, words) in [
        (
            "src=x,dst=b,time=c",
            "--columns src=x: a.csv has no such column; its columns: `a`, `b`, `c`",
        ),
        ("src=a,dst=a,time=c", "chosen twice"),
        ("src=9,dst=a,time=c", "no such column"),
        ("src=a", "the destination, the time"),
    ] {
        let error = of("a,b,c,d,e", Layout::default(), columns).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn names_of_a_layout_come_before_others() {
    let layout = Layout {
        names: Some(["u", "i", "ts"]),
        ..Layout::default()
    };
    let schema = of("src,dst,time,u,i,ts", layout, "").unwrap();
    assert_eq!((schema.src, schema.dst, schema.time), (3, 4, 5));
    assert!(plainly("src,dst,time,u,i,ts").is_err());
    let positions = Layout {
        positions: Some([1, 2, 0]),
        ..Layout::default()
    };
    assert_eq!(of("year,who,whom", positions, "").unwrap().src, 1);
    // A name that is known stands elsewhere.
    assert!(of("who,whom,year", positions, "").is_err());
}
